"""A worker with a bug, to prove that the oracle finds it: `python -m tests.chaos.sabotage BUG worker`.

Classes of the product are changed in this process only: the product has no switch for it. Each bug is one that a
stream processor really has had; where it needs a window of microseconds to show, the window is made a second wide.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from models.state import Channel
from streams.cli import main
from streams.engine.partition import Partition
from streams.worker.assignment import KafkaPort
from streams.worker.checkpoint import Checkpoint
from streams.worker.clock import TaskClock
from streams.worker.intake import Intake
from streams.worker.outbox import TaskOutput
from streams.worker.publisher import Publisher
from streams.worker.sender import Outgoing
from streams.worker.task import PartitionTask

# What is changed here is private to its module: a bug does not ask.
_Task: Any = PartitionTask
_Intake: Any = Intake
_Publisher: Any = Publisher
_Checkpoint: Any = Checkpoint
_TaskOutput: Any = TaskOutput
_Port: Any = KafkaPort
_Partition: Any = Partition
_Clock: Any = TaskClock
_Channel: Any = Channel


def _after(seconds: float, method: Callable[..., Any]) -> Callable[..., Any]:
    """The same, late: as behind a slow broker."""

    async def slow(*arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(seconds)
        return await method(*arguments, **named)

    return slow


def _acknowledge_all(task: Any) -> None:
    checkpoint = task._checkpoint
    handled, checkpoint._handled = checkpoint._handled, []
    for acknowledge in handled:
        acknowledge()


def nothing() -> None:
    """No bug: the oracle must have nothing to say."""


def commit_before_send() -> None:
    """Input is acknowledged as soon as it is handled, before what it brought about is stored and sent."""
    take_slice = _Intake._take_slice

    def take_and_acknowledge(self: Any) -> bool:
        busy: bool = take_slice(self)
        _acknowledge_all(self)
        return busy

    _Intake._take_slice = take_and_acknowledge
    _Publisher._publish = _after(2.0, _Publisher._publish)


def outbox_forgotten() -> None:
    """What was stored but not sent before a crash is not sent after it."""
    adopt = _TaskOutput.adopt

    def adopt_without_outbox(self: Any, state: Any, *more: Any) -> None:
        adopt(self, state, *more)
        state.outbox.clear()

    _TaskOutput.adopt = adopt_without_outbox
    _Port.send_all = _after(1.0, _Port.send_all)


def deadline_forgotten() -> None:
    """Deadlines are kept in memory alone: after a recovery none of them is known."""
    adopt = _Partition.adopt

    def adopt_without_deadlines(self: Any, states: Any) -> Any:
        told = adopt(self, states)
        self._deadlines.clear()
        return told

    _Partition.adopt = adopt_without_deadlines


def wall_clock() -> None:
    """`now` is that of the machine, not that of the records."""
    _Clock.instant = lambda _self, _timestamp_ms: datetime.now(UTC)


def drop_on_revoke() -> None:
    """When partitions are taken away, what was not stored yet is thrown away, and acknowledged."""
    stop = _Task.stop

    def stop_and_drop(self: Any) -> None:
        stop(self)
        publisher = self._publisher
        publisher.cancel()
        publisher._running, publisher._pending = None, {}
        _acknowledge_all(self)

    async def release_nothing(_self: Any) -> bool:
        return False

    _Task.stop, _Task.release = stop_and_drop, release_nothing
    _Publisher._publish = _after(1.0, _Publisher._publish)


def revision_reused() -> None:
    """After a recovery an alert goes on with the revision it had, as if it had not been told."""
    adopt = _TaskOutput.adopt

    def adopt_one_back(self: Any, state: Any, *more: Any) -> None:
        adopt(self, state, *more)
        for alert in state.alerts.values():
            alert.revision -= 1

    _TaskOutput.adopt = adopt_one_back


def picture_forgotten() -> None:
    """The end of an alert goes to its family's topic, but not to `alerts.active`."""
    of_entry = _TaskOutput._of_entry

    def without_ends(self: Any, entry: Any) -> list[Outgoing]:
        messages: list[Outgoing] = of_entry(self, entry)
        return messages[:1] if entry.ce_type.endswith("resolved") else messages

    _TaskOutput._of_entry = without_ends


def dead_letter_forgotten() -> None:
    """Of every third unusable message nobody hears."""
    dead_letter = _TaskOutput.dead_letter
    number = 0

    def sometimes(self: Any, record: Any, reason: str, detail: str) -> None:
        nonlocal number
        number += 1
        if number % 3:
            dead_letter(self, record, reason, detail)

    _TaskOutput.dead_letter = sometimes


def samples_unasked() -> None:
    """Samples of machines are kept, but no rule is asked when one crosses a bound that it watches."""
    turn = _Channel._turn

    def turn_and_keep_still(self: Any, at: int, value: float, previous: int) -> list[str]:
        turn(self, at, value, previous)
        return []

    _Channel._turn = turn_and_keep_still


def repeat_differs() -> None:
    """What is sent again after a crash says more than it did the first time."""
    adopt = _TaskOutput.adopt

    def adopt_and_add(self: Any, state: Any, *more: Any) -> None:
        adopt(self, state, *more)
        for number, entry in enumerate(state.outbox):
            if entry.ce_type:
                value = bytes(entry.value)[:-1] + b',"repeated":true}'
                state.outbox[number] = type(entry)(
                    entry.topic, entry.key, msgspec.Raw(value), entry.ce_id, entry.ce_type
                )

    _TaskOutput.adopt = adopt_and_add
    # Sent at once, but the input stays unacknowledged: a crash then sends again.
    _Checkpoint.store = _after(1.0, _Checkpoint.store)


BUGS: Final[dict[str, Callable[[], None]]] = {
    "nothing": nothing,
    "commit-before-send": commit_before_send,
    "outbox-forgotten": outbox_forgotten,
    "deadline-forgotten": deadline_forgotten,
    "wall-clock": wall_clock,
    "drop-on-revoke": drop_on_revoke,
    "revision-reused": revision_reused,
    "picture-forgotten": picture_forgotten,
    "dead-letter-forgotten": dead_letter_forgotten,
    "samples-unasked": samples_unasked,
    "repeat-differs": repeat_differs,
}

if __name__ == "__main__":
    # A worker that notices that its state was never stored refuses to start: then nothing else would be found.
    os.environ["DIALYSIS_ON_LOST_STATE"] = "continue"
    BUGS[sys.argv.pop(1)]()
    main()
