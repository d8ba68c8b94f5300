"""The commands of `dialysis-alerts` that run neither a worker nor a demo, and how commands print."""
