"""`dialysis-alerts worker` that stops itself (SIGSTOP) once, at a chosen moment of the life of one patient's alert.

    FREEZE_FOR=p0 FREEZE_AT=storing python -m tests.integration.freezing_worker

Moments, each as late as code can be:

    fenced       it may write: the fence was looked at; the patient's record is not yet with the producer
    storing      the record is on its way to the broker's socket
    stored       the transition is stored, and may be sent; it is not yet with the producer
    sending      the transition is on its way to the broker's socket, for its family's topic and `alerts.active`
    committing   it is stored and sent, its input's offsets are about to be committed
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from streams.cli import main
from streams.worker.changelog_writer import ChangelogWriter

PATIENT = os.environ["FREEZE_FOR"].encode()
MOMENT = os.environ["FREEZE_AT"]
_Consumer: Any = AIOKafkaConsumer
_Producer: Any = AIOKafkaProducer
_Client: Any = AIOKafkaClient
_Writer: Any = ChangelogWriter


class Fuse:
    """What has been seen of the patient's alert, and whether the worker froze already."""

    def __init__(self) -> None:
        self.armed = {"fenced": False, "storing": False, "stored": False, "sending": False, "committing": False}
        self.burnt = False

    def reach(self, moment: str) -> None:
        """Freeze if this is the moment that was chosen, and the patient's alert is at it."""
        if moment == MOMENT and self.armed[moment] and not self.burnt:
            self.burnt = True
            os.kill(os.getpid(), signal.SIGSTOP)


fuse = Fuse()
write, send, send_batch = _Writer.write, _Producer.send, _Producer.send_batch
request, commit = _Client.send, _Consumer.commit


async def freezing_write(self: Any, partition: int, entries: Mapping[bytes, bytes | None], **more: Any) -> Any:
    if PATIENT in entries:
        fuse.armed["fenced"] = True
    return await write(self, partition, entries, **more)


async def freezing_send_batch(self: Any, batch: Any, topic: str, *, partition: int) -> Any:
    fuse.reach("fenced")
    fuse.armed["storing"] = fuse.armed["fenced"]
    return await send_batch(self, batch, topic, partition=partition)


async def freezing_send(self: Any, topic: str, value: Any = None, key: Any = None, *rest: Any, **more: Any) -> Any:
    if ".alerts." in topic and fuse.armed["fenced"]:
        fuse.armed["stored"] = True
        fuse.reach("stored")
        fuse.armed["sending"] = fuse.armed["committing"] = True
    return await send(self, topic, value, key, *rest, **more)


async def freezing_request(self: Any, node_id: int, what: Any, **more: Any) -> Any:
    if type(what).__name__.startswith("Produce"):
        fuse.reach("storing")
        fuse.reach("sending")
    return await request(self, node_id, what, **more)


async def freezing_commit(self: Any, *args: Any, **more: Any) -> Any:
    fuse.reach("committing")
    return await commit(self, *args, **more)


if __name__ == "__main__":
    _Writer.write = freezing_write
    _Producer.send, _Producer.send_batch = freezing_send, freezing_send_batch
    _Client.send, _Consumer.commit = freezing_request, freezing_commit
    sys.argv[1:] = ["worker"]
    main()
