"""Messages and state: events, alerts, state, analytes, topics, settings. Imports nothing of `streams`."""
