"""Mutation test of rules and engine."""
