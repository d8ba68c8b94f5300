"""Episodes of one machine alarm, pieced together from its messages by the machine's own times.

    start ... continue ... end        an episode
    start ... start ... end           one: those that overlap are folded
    start ... end ... continue        one: the machine still tells of it, so the end was none
    start ... end (latched) ... end   one, until an end says that it is not latched any more
    start end start end start end     a flood: once there are many starts, an end counts only after a while

The result is a function of the kept messages, whatever their order was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final

from models.records import MachineAlarm

#: Of one moment: where the alarm was on, its end belongs to what was before; where it was off, to what begins.
_WHILE_ON: Final = {"end": 0, "start": 1, "continue": 2}
_WHILE_OFF: Final = {"start": 0, "continue": 1, "end": 2}


@dataclass(frozen=True, slots=True)
class Word:
    """A message of an alarm: its window key, and when it arrived."""

    alarm: MachineAlarm
    key: str
    heard: datetime

    @property
    def at(self) -> datetime:
        """Return when it was, but not after it arrived: a machine's clock may be ahead."""
        return min(self.alarm.at, self.heard)


@dataclass(frozen=True, slots=True)
class Flood:
    """From how many starts within how long an end counts only when no start followed for as long."""

    starts: int
    within: timedelta


@dataclass(slots=True)
class Episode:
    """Messages of an alarm from its beginning on.

    Attributes:
        ended_at: when its machine ended it, None while it is on.
        quiet_from: from when on a further start would begin another episode, if it ended.
    """

    words: list[Word]
    ended_at: datetime | None = None
    quiet_from: datetime | None = None
    #: The words that say it is on, in order.
    said: list[Word] = field(default_factory=list)

    @property
    def is_latched(self) -> bool:
        """Return whether it stays when it ends, by the newest word that tells."""
        return next((word.alarm.latched for word in reversed(self.words) if word.alarm.latched is not None), False)

    def holds(self, at: datetime) -> bool:
        """Return whether a start at a moment belongs to it."""
        return self.quiet_from is None or at <= self.quiet_from or self.is_latched


def episodes(words: Iterable[Word], flood: Flood) -> list[Episode]:
    """Return the episodes of one alarm in order."""
    found: list[Episode] = []
    starts: list[datetime] = []
    ordered = sorted(words, key=lambda word: (word.alarm.at, word.key))
    for _, moment in groupby(ordered, key=attrgetter("alarm.at")):
        order = _WHILE_ON if found and found[-1].ended_at is None else _WHILE_OFF
        for word in sorted(moment, key=lambda word: order[word.alarm.phase]):
            if word.alarm.phase == "end":
                if found:
                    _end(found[-1], word, starts, flood)
                continue
            if word.alarm.phase == "start":
                starts.append(word.at)
            if not found or (word.alarm.phase == "start" and not found[-1].holds(word.at)):
                found.append(Episode([]))
            episode = found[-1]
            episode.words.append(word)
            episode.said.append(word)
            episode.ended_at = episode.quiet_from = None
    return found


def _end(episode: Episode, word: Word, starts: list[datetime], flood: Flood) -> None:
    """End an episode, unless it ended before and was not latched."""
    was_latched = episode.is_latched
    episode.words.append(word)
    if episode.ended_at is None or was_latched:
        episode.ended_at = word.at
        many = sum(at > word.at - flood.within for at in starts) >= flood.starts
        episode.quiet_from = word.at + flood.within if many else word.at
