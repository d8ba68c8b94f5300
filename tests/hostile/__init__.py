"""What strangers, senders and operators can do to a worker, and what it costs all others: `make hostile`."""
