"""How it flows: commands, agents, tasks, transport; the engine and the rules."""
