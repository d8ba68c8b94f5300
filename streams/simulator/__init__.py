"""The virtual dialysis unit: seeded events of many patients, for tests, load and the demo."""
