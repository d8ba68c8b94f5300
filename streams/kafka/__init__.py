"""Kafka from outside a worker: clients that are bounded in time, and making the topics."""
