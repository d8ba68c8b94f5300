"""The virtual unit as one stream of messages, in order of arrival. Pure: no clock, no input or output."""

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import NamedTuple

from streams.simulator.chance import stream
from streams.simulator.course import draw_course
from streams.simulator.faults import disturbed
from streams.simulator.garbage import garbage
from streams.simulator.lab_panels import known_results
from streams.simulator.planned import Planted, Scenario, Scribe, TimedMessage
from streams.simulator.population import Population, known_before
from streams.simulator.rates import RATES
from streams.simulator.samples import samples
from streams.simulator.script import ROUND, Script
from streams.simulator.stories import play, stories
from streams.simulator.timetable import Slot, Timetable
from streams.simulator.treatment import ANNOUNCED, LAST_WORD, session

__all__ = ["Planted", "Scenario", "TimedMessage", "unit_events"]

#: Ranks order messages of the same millisecond, so the order never depends on when a stream was opened.
Rank = tuple[int, int, int]


class _Opening(NamedTuple):
    """Streams that yield nothing before `at`, in seconds from the unit's start, and so are opened only then."""

    at: float
    rank: Rank
    open: Callable[[], list[Iterator[TimedMessage]]]


def unit_events(
    seed: int,
    start: datetime,
    patients: int,
    scenario: Scenario = Scenario.NORMAL,
    sample_seconds: float = 5.0,
    *,
    backfill: timedelta = timedelta(0),
    planted: Callable[[Planted], object] | None = None,
) -> Iterator[TimedMessage]:
    """Yield the messages of a virtual unit, without end, in order of `received_at`.

    The same arguments give the same bytes, whatever the hash seed and however many messages are read. Another `start`
    gives the same events, shifted. First come the unit's record (last results, profiles, standing orders) and the
    running sessions. 24 chairs make a unit with two water loops; two patients take turns on a chair: 48 patients keep
    24 chairs busy.

    Args:
        seed: Selects the unit.
        start: When it goes live, with an offset; the script of `dense` counts from here.
        patients: Number of patients, at least 1.
        scenario: How much goes wrong.
        sample_seconds: Time between two samples of one machine; above 60 it would count as silent.
        backfill: How long before `start` the messages begin.
        planted: Called with each planted condition just before the message that completes it is yielded.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0.001 <= sample_seconds <= 60:
        raise ValueError("The time between samples lies between 0.001 and 60 seconds")
    if backfill < timedelta(0):
        raise ValueError("A backfill cannot be negative")
    unit = _Unit(seed, Scribe(start), patients, scenario, sample_seconds, -backfill.total_seconds())
    return _reported(_interleaved(unit.scribe, unit.openings()), planted)


class _Unit:
    """Opens the streams of a unit: its record, its sessions, and what the scenario adds."""

    def __init__(
        self,
        seed: int,
        scribe: Scribe,
        patients: int,
        scenario: Scenario,
        sample_seconds: float,
        begin: float,
    ) -> None:
        self.scribe = scribe
        self._seed = seed
        self._scenario = scenario
        self._rates = RATES[scenario]
        self._population = Population(seed, self._rates)
        self._timetable = Timetable(seed, patients, self._population, self._rates.cancelled)
        self._sample_seconds = sample_seconds
        self._begin = begin
        self._dense = Script(seed, scribe, self._timetable)
        self._quiet = self._dense.quiet_slot() if scenario is Scenario.DENSE else None

    def openings(self) -> Iterator[_Opening]:
        """Yield all streams, in the order in which they open."""
        sources = [self._sessions(chair) for chair in range(self._timetable.chairs)]
        sources.append(self._record())
        if self._scenario is Scenario.DENSE:
            sources.append(self._script())
        if self._scenario is Scenario.GARBAGE:
            sources.append(self._garbage())
        if self._scenario is Scenario.CATALOGUE:
            sources.append(self._stories())
        return heapq.merge(*sources, key=lambda opening: (opening.at, opening.rank))

    def _record(self) -> Iterator[_Opening]:
        yield _Opening(self._begin, (-3, 0, 0), lambda: [self._known()])

    def _known(self) -> Iterator[TimedMessage]:
        for index in range(self._timetable.patients):
            person = self._population[index]
            # Results first: a profile without any would mean that none was measured for years.
            yield from known_results(self.scribe, person, stream(self._seed, "record", index), self._begin)
            yield from known_before(self.scribe, person, self._begin)

    def _script(self) -> Iterator[_Opening]:
        for number in count():
            yield _Opening(number * ROUND, (-2, number, 0), partial(_alone, self._dense.round, number))

    def _garbage(self) -> Iterator[_Opening]:
        patients = self._timetable.patients
        broken = garbage(self._seed, self.scribe, self._population, patients, self._begin)
        yield _Opening(self._begin, (-1, 0, 0), lambda: [broken])

    def _stories(self) -> Iterator[_Opening]:
        start = self.scribe.start
        yield _Opening(0, (-1, 0, 0), lambda: [play(story, number, start) for number, story in enumerate(stories(), 1)])

    def _sessions(self, chair: int) -> Iterator[_Opening]:
        for slot in self._timetable.from_time(chair, self._begin - LAST_WORD):
            opens = max(slot.start - ANNOUNCED, self._begin)
            yield _Opening(opens, (chair, slot.number, 0), partial(self._session, slot))

    def _session(self, slot: Slot) -> list[Iterator[TimedMessage]]:
        """Open a session's messages and telemetry; messages before the begin count only if it still runs."""
        course = draw_course(slot, self._rates)
        over = slot.end < self._begin
        said = self._disturbed(iter(session(self.scribe, slot, course, self._rates)), slot)
        streams = [self._begun(said, over=over)]
        if not over and not slot.cancelled:
            telemetry = samples(self.scribe, slot, course, self._sample_seconds, self._begin)
            if self._quiet is not None and slot.session_id == self._quiet.session_id:
                telemetry = self._dense.without_samples(slot, telemetry)
            streams.append(self._disturbed(telemetry, slot))
        return streams

    def _disturbed(self, messages: Iterator[TimedMessage], slot: Slot) -> Iterator[TimedMessage]:
        return disturbed(messages, self.scribe.start, slot.rng_key, self._rates)

    def _begun(self, messages: Iterator[TimedMessage], *, over: bool) -> Iterator[TimedMessage]:
        """Let messages from before the begin arrive at it, or drop them if their session is over."""
        begin = self.scribe.at(self._begin)
        for message in messages:
            if message.received_at >= begin:
                yield message
            elif not over:
                planted = message.planted
                if planted and planted.ends_at and planted.ends_at <= begin:
                    planted = None  # its end arrives together with it
                yield message._replace(received_at=begin, planted=planted)


def _alone(make: Callable[[int], Iterator[TimedMessage]], number: int) -> list[Iterator[TimedMessage]]:
    return [make(number)]


def _interleaved(scribe: Scribe, openings: Iterator[_Opening]) -> Iterator[TimedMessage]:
    """Merge all streams in order of arrival; open a stream when its time comes."""
    heap: list[tuple[datetime, Rank, TimedMessage, Iterator[TimedMessage]]] = []
    opening = next(openings)
    opens = scribe.at(opening.at)
    while True:
        while not heap or opens <= heap[0][0]:
            for part, messages in enumerate(opening.open()):
                first = next(messages, None)
                if first is not None:
                    rank = (*opening.rank[:2], part)
                    heapq.heappush(heap, (first.received_at, rank, first, messages))
            opening = next(openings)
            opens = scribe.at(opening.at)
        _, rank, message, messages = heap[0]
        yield message
        following = next(messages, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.received_at, rank, following, messages))


def _reported(messages: Iterator[TimedMessage], planted: Callable[[Planted], object] | None) -> Iterator[TimedMessage]:
    for message in messages:
        if planted and message.planted:
            planted(message.planted)
        yield message
