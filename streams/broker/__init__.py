"""The embedded Kafka of `broker`, `demo` and the tests."""
