"""The engine: filing, evaluation, life cycle, clock. Pure: no I/O and no clock of its own."""
