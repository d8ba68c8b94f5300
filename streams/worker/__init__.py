"""The worker: the tasks of this process's partitions, what they read, store and publish, and their health."""
