"""A forged message on `alerts.active` does not stand while the owner works (`streams.worker.contradictions`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.worker import answer_backoff
from streams.worker.answer_backoff import FIRST_S, FORGOTTEN_S, LONGEST_S, Repeats
from streams.worker.contradictions import LAST_REVISION, MOST_RESTATED
from streams.worker.ports import NO_REVISION, Shown
from tests.unit.fake_port import PREFIX, FakeKafka, Host, frozen
from tests.unit.task_events import HOUR, MINUTE, P1, P2, low_magnesium, telemetry

SILENT: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}
ALERT = low_magnesium(P1, "r0")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(answer_backoff, "time", made)
    return made


def pictured(kafka: FakeKafka) -> list[dict[str, Any]]:
    return [json.loads(message.value or b"null") for message in kafka.topic("alerts.active")]


async def raised(kafka: FakeKafka) -> Host:
    kafka.lab(P1, 0, 1.5)
    return await Host(kafka, rules=SILENT).settle()


def forged(revision: int, owner: str | None = P1) -> Shown:
    return Shown(revision, owner, None, b'{"revision":%d,"status":"resolved"}' % revision)


async def test_our_own_bytes_are_no_forgery(kafka: FakeKafka) -> None:
    host = await raised(kafka)
    (ours,) = kafka.topic("alerts.active")
    assert not await host.task.correct([(ALERT, Shown(1, P1, None, ours.value))])
    assert len(pictured(kafka)) == 1


@pytest.mark.parametrize("owner", [P1, P2, None])
async def test_our_revision_with_other_bytes_is_answered_with_ours(kafka: FakeKafka, owner: str | None) -> None:
    """Whosever alert the forgery says it is: the key is that of ours."""
    host = await raised(kafka)
    await host.task.correct([(ALERT, forged(1, owner))])
    first, again = kafka.topic("alerts.active")
    assert frozen(again) == frozen(first)


@pytest.mark.parametrize("owner", [P1, P2])
@pytest.mark.parametrize("revision", [2, 10**9, LAST_REVISION])
async def test_a_later_revision_is_outdone_once(kafka: FakeKafka, revision: int, owner: str) -> None:
    """Readers never go back, so ours alone would not be seen; and it is told and stored like any transition."""
    host = await raised(kafka)
    await host.task.correct([(ALERT, forged(revision, owner))])
    await host.settle()
    before, after = pictured(kafka)
    assert (after["revision"], after["transition"], after["reason"]) == (revision + 1, "updated", "contradicted")
    assert {k: v for k, v in after.items() if before[k] != v}.keys() <= {"revision", "transition", "reason", "at"}
    assert kafka.transitions()[-1] == after
    kafka.lab(P1, 10, 2.1)
    await Host(kafka, rules=SILENT).settle()
    assert (pictured(kafka)[-1]["revision"], pictured(kafka)[-1]["status"]) == (revision + 2, "resolved")


async def test_a_revision_beyond_all_reason_is_answered_with_ours(kafka: FakeKafka) -> None:
    host = await raised(kafka)
    await host.task.correct([(ALERT, forged(2**63))])
    assert [alert["revision"] for alert in pictured(kafka)] == [1, 1]


async def test_an_alert_that_is_over_stays_over(kafka: FakeKafka) -> None:
    host = await raised(kafka)
    kafka.lab(P1, 10, 2.1)
    await host.settle()
    await host.task.correct([(ALERT, forged(9))])
    last = pictured(kafka)[-1]
    assert (last["revision"], last["status"], last["transition"]) == (10, "resolved", "resolved")
    telemetry(kafka, P2, HOUR)
    await host.settle()
    await host.task.correct([(ALERT, forged(99))])
    assert [message.value for message in kafka.topic("alerts.active")[-2:]] == [None, None]


async def test_what_is_no_alert_does_not_hide_one(kafka: FakeKafka) -> None:
    host = await raised(kafka)
    await host.task.correct([(ALERT, Shown(NO_REVISION, value=b"garbage")), ("k", Shown(NO_REVISION, value=b""))])
    first, again = kafka.topic("alerts.active")
    assert frozen(again) == frozen(first)


async def test_who_lags_may_be_the_one_who_does_not_know(kafka: FakeKafka) -> None:
    host = await raised(kafka)
    kafka.unconfirmed = {PREFIX + "machine-events"}
    kafka.clock.elapsed += MINUTE
    assert await host.task.correct([(ALERT, forged(5))]) == {ALERT}
    assert len(pictured(kafka)) == 1
    kafka.unconfirmed = set()
    assert not await host.task.correct([(ALERT, forged(5))])
    assert pictured(kafka)[-1]["revision"] == 6


async def test_two_who_contradict_each_other_do_not_race(kafka: FakeKafka, clock: Clock) -> None:
    """Another group with another history, on the same topics: each would outdo the other for ever."""
    host = await raised(kafka)
    answered, revision = 0, 1
    for _ in range(3600):
        clock.now += 1
        before = len(pictured(kafka))
        await host.task.correct([(ALERT, forged(revision + 1))])
        answered += len(pictured(kafka)) - before
        revision = pictured(kafka)[-1]["revision"]
    assert MOST_RESTATED < answered < 20
    assert sum(alert["reason"] == "contradicted" for alert in kafka.transitions()) == MOST_RESTATED


def test_answers_come_at_once_then_ever_later_and_anew_after_a_while(clock: Clock) -> None:
    repeats = Repeats()
    assert repeats.take("a") == 0
    assert repeats.take("a") is None
    assert repeats.take("b") == 0
    clock.now += FIRST_S
    assert repeats.take("a") == 1
    clock.now += FIRST_S
    assert repeats.take("a") is None
    clock.now += FIRST_S
    assert repeats.take("a") == 2
    for _ in range(10):
        clock.now += LONGEST_S
        assert repeats.take("a") is not None
        assert repeats.take("a") is None
    clock.now += FORGOTTEN_S
    assert repeats.take("a") == 0
