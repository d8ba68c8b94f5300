"""Large messages that cannot be used: dead letters leave before more of them are made."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from streams.transport.api import Oversized
from streams.worker.outbox import MUCH_WAITS
from tests.unit.fake_port import PREFIX, FakeKafka, Host, install
from tests.unit.task_events import P1


class _Watched(FakeKafka):
    """Notes the bytes of each call to send."""

    most = 0

    async def send_all(self, messages: Any) -> None:
        self.most = max(self.most, sum(len(message.value or b"") for message in messages))
        await super().send_all(messages)


async def test_dead_letters_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = _Watched()
    install(kafka.clock, monkeypatch)
    garbage = b"{" * (1024 * 1024)
    for number in range(12):
        kafka.logs[PREFIX + "lab-results"].append(_record(number, garbage))
    kafka.waiting_share = 100 * len(garbage)
    host = await Host(kafka).start()
    for _ in range(12):
        await host.deliver("lab-results", 1)
    await host.settle()
    assert len(kafka.topic("dead-letters")) == 12
    assert kafka.most <= MUCH_WAITS + len(garbage)
    assert host.task.is_stored


async def test_what_is_too_large_is_a_dead_letter_whosever_it_is(kafka: FakeKafka) -> None:
    """Also on a wrong partition: what was cut must not be sent on."""
    for number, key in enumerate((None, P1.encode(), b"elsewhere", b"elsewhere-2")):
        cut = Oversized.of(b"{", "the value has 9 bytes, 8 are allowed", (("dl_size", b"9"),))
        kafka.logs[PREFIX + "lab-results"].append(_record(number, cut, key))
    await Host(kafka).settle()
    letters = kafka.topic("dead-letters")
    assert len(letters) == 4
    assert {dict(letter.headers)["dl_reason"] for letter in letters} == {b"too_large"}
    assert {dict(letter.headers)["dl_size"] for letter in letters} == {b"9"}
    assert not kafka.topic("lab-results")


def _record(offset: int, value: bytes, key: bytes | None = P1.encode()) -> Any:
    return ConsumerRecord(PREFIX + "lab-results", 0, offset, 1000, 1, key, value, None, 0, 0, ())
