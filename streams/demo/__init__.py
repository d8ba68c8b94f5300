"""`dialysis-alerts demo`: broker, simulated unit, worker, unit screen and a live view, all on one machine."""

from streams.demo.command import run

__all__ = ["run"]
