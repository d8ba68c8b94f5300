"""What flows and what is kept: events, alerts, state, analytes, topics, settings. Imports nothing of `streams`."""
