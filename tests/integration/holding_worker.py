"""`dialysis-alerts worker` that gets nothing of one topic for a while, as if the broker were slow with it.

    HOLD=clinical-events python -m tests.integration.holding_worker

It holds the topic back from the start on; SIGUSR1 lets go of it, and holds it back again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from streams.cli import main
from streams.transport import TP
from streams.worker.assignment import Assignment

log = logging.getLogger(__name__)

_Assignment: Any = Assignment
on_assigned = _Assignment.on_assigned


class Hold:
    """Whether the topic is held back."""

    holding = True

    def apply(self, assignment: Any) -> None:
        """Make it so."""
        topic = next(topic for topic in assignment.topics.topics if topic.endswith(os.environ["HOLD"]))
        tps = {TP(topic, number) for number in assignment.tasks}
        (assignment._app.pause if self.holding else assignment._app.resume)(tps)
        log.info("%s %s", "holding" if self.holding else "letting go of", topic)

    def turn(self, assignment: Any) -> None:
        """The signal came."""
        self.holding = not self.holding
        self.apply(assignment)


hold = Hold()


async def holding_on_assigned(self: Any, *args: Any) -> None:
    await on_assigned(self, *args)
    if self.kind.table == "patients":
        hold.apply(self)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hold.turn, self)


if __name__ == "__main__":
    _Assignment.on_assigned = holding_on_assigned
    sys.argv[1:] = ["worker"]
    main()
