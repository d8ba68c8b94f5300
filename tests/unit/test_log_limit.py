"""A repeated error is written once a second, with a count."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from streams.worker.log_limit import MOST_OF_A_PLACE, LogLimit


class Log:
    """A logger with a limit and a clock of its own."""

    def __init__(self) -> None:
        self.now = 50.0
        self.limit = LogLimit(lambda: self.now)
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(self.limit)
        self.logger = logging.getLogger("asyncio.test")
        self.logger.setLevel("INFO")

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    found = Log()
    root = logging.getLogger()
    level = root.level
    root.setLevel("INFO")
    root.addHandler(found.handler)
    yield found
    root.removeHandler(found.handler)
    root.setLevel(level)


def test_a_repeated_error_comes_once_a_second_with_a_count(log: Log) -> None:
    for number in range(1000):
        log.logger.error("accept failed on <socket fd=%d at 0x%x>", number, number * 4096)
    assert len(log.lines) == 1
    log.now += 1.0
    log.logger.error("accept failed on <socket fd=7 at 0x1000>")
    assert len(log.lines) == 2
    assert log.lines[1].endswith("(999 more like it before)")


def test_what_does_not_come_again_is_counted_by_the_timer(log: Log) -> None:
    for _ in range(5):
        log.logger.error("broker away")
    log.limit.tell()
    assert log.lines == ["broker away"]
    log.now += 1.0
    log.limit.tell()
    log.limit.tell()
    assert log.lines == ["broker away", "4 more from asyncio.test like: broker away"]
    log.now += 60
    log.logger.error("broker away")
    assert log.lines[-1] == "broker away"


def test_different_errors_are_all_written_up_to_a_bound(log: Log) -> None:
    names = [chr(ord("a") + number) for number in range(26)]
    for name in names:
        log.logger.warning("topic %s is wrong", name)
    assert len(log.lines) == MOST_OF_A_PLACE
    log.now += 1.0
    log.limit.tell()
    assert len(log.lines) == 26


def test_information_is_not_held_back(log: Log) -> None:
    for _ in range(20):
        log.logger.info("owns partitions")
    assert len(log.lines) == 20


def test_what_is_remembered_is_bounded(log: Log) -> None:
    words = ("".join(chr(97 + (n // 26**k) % 26) for k in range(4)) for n in range(5000))
    for word in words:
        log.logger.error("%s", word)
    assert len(log.limit._lines) <= 501
    log.now += 2.0
    log.limit.tell()
    log.now += 2.0
    log.limit.tell()
    assert not log.limit._lines
