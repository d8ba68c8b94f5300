"""Faults at the worst moment, and an oracle that says what was lost of what was planted, and where."""
