"""The screen never looks calm when it is blind."""

from __future__ import annotations

from datetime import timedelta

from tests.board.records import NOW, Unit, status_value


def test_it_is_blind_until_everything_is_well() -> None:
    unit = Unit()
    assert unit.reasons() == {"broker": [], "no_status": [0, 1], "lagging": []}
    unit.board.blindness.broker_answers(answers=True)
    unit.board.blindness.is_read(done=True)
    assert unit.reasons() == {"no_status": [0, 1]}
    unit.status(0)
    assert unit.reasons() == {"no_status": [1]}
    unit.status(1)
    assert unit.reasons() == {}


def test_a_partition_without_a_status_for_ten_seconds() -> None:
    unit = Unit()
    unit.sees()
    unit.later(10)
    unit.status(1)
    assert unit.reasons() == {}
    unit.later(1)
    assert unit.reasons() == {"no_status": [0]}
    since = unit.board.status()["blind"]["reasons"][0]["since"]
    unit.later(5)
    assert unit.board.status()["blind"]["reasons"][0]["since"] == since


def test_recovering_and_lagging() -> None:
    unit = Unit()
    unit.sees()
    unit.later(1)
    unit.status(0, recovering=True)
    unit.status(1, lag_seconds=31.0)
    assert unit.reasons() == {"recovering": [0], "lagging": [1]}
    unit.later(1)
    unit.status(0, 1, lag_seconds=29.0)
    assert unit.reasons() == {}


def test_the_broker_goes_and_comes_back() -> None:
    unit = Unit()
    unit.sees()
    shown = unit.board.status()["shown_at"]
    unit.board.blindness.broker_answers(answers=False)
    unit.later(3)
    assert unit.reasons() == {"broker": []}
    assert unit.board.status()["shown_at"] == shown
    unit.board.blindness.broker_answers(answers=True)
    assert unit.board.status()["shown_at"] == unit.time.isoformat()


def test_an_old_status_from_the_log_is_no_sign_of_life() -> None:
    unit = Unit()
    unit.sees()
    unit.later(3600)
    for minutes in (58, 57, 56):
        unit.board.take("worker-status", b"0", status_value(0, unit.time - timedelta(minutes=minutes)))
    assert unit.reasons()["no_status"] == [0, 1]


def test_a_worker_whose_clock_is_wrong_is_alive_once_it_spoke_twice() -> None:
    unit = Unit()
    unit.sees()
    for partition in (0, 1):
        unit.board.take("worker-status", str(partition).encode(), status_value(partition, NOW + timedelta(hours=1)))
    unit.later(11)
    assert unit.reasons()["no_status"] == [0, 1]
    skew = timedelta(hours=1)
    for _ in range(2):
        for partition in (0, 1):
            unit.board.take("worker-status", str(partition).encode(), status_value(partition, unit.time + skew))
        unit.later(5)
    assert unit.reasons() == {}
    unit.later(10)
    assert unit.reasons()["no_status"] == [0, 1]


def test_garbage_is_no_status() -> None:
    unit = Unit()
    unit.board.blindness.broker_answers(answers=True)
    unit.board.blindness.is_read(done=True)
    unit.board.take("worker-status", b"0", b'{"partition": "0"}')
    unit.board.take("worker-status", b"1", status_value(0))
    unit.board.take("worker-status", b"-1", status_value(-1))
    unit.board.take("worker-status", None, None)
    assert unit.reasons() == {"no_status": [0, 1]}
    unit.board.blindness.watch(1)
    unit.status(0)
    assert unit.reasons() == {}
