"""The worker: the tasks of this process's partitions, with their input, storage, output and health."""
