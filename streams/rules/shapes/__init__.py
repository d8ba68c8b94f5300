"""Shapes of rules: a rule of a common form is a few declarative lines in its family's module."""
