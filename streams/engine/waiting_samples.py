"""Samples that wait: those that no rule needs to look at are filed a few at a time.

Nearly every message is a sample of a running treatment: in order and in time, while blood flows, and on the known side
of every bound that a rule watches. Filing such a sample changes nothing that a rule would be asked about, so it waits
for the next ones. What is filed then is the same as one by one. Whoever evaluates or stores a patient has it filed
first.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime
from math import isnan, nan
from operator import attrgetter
from typing import Any, Final

from models.records import Telemetry
from models.state import PatientState, Session
from models.state.channel import LASTS_S, NEVER_S
from streams.engine.change import SAMPLED, SAMPLED_AGAIN, Change
from streams.engine.sender_clocks import BEHIND, BELIEVABLE
from streams.engine.sessions import newer
from streams.engine.waits import Waits
from streams.rules.facts.late_clocks import LATE
from streams.rules.facts.treatments import is_still
from streams.rules.inputs import HEARD_ANEW

#: How many samples of a patient wait at most.
MOST_WAITING: Final = 64
#: Where fewer samples than this wait between two checkpoints, filing each at once costs less.
_WORTH_IT: Final = 2
#: Subtracting it costs half as much as `datetime.timestamp`.
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S: Final = -min(LATE, -BEHIND).total_seconds()
_BELIEVABLE_S: Final = BELIEVABLE.total_seconds()
#: Whether a sample that comes so late after the one before it is news is not decided here.
_NEWS_S: Final = HEARD_ANEW.total_seconds() - 0.001
#: The readings that a session keeps beside its channels.
_READINGS: Final = ("systolic_mmhg", "uf_rate_ml_h")
#: Whose a sample is.
_SOURCE: Final = ("session_id", "machine_id", "unit_id")


class _Shape:
    """Which fields of samples are kept: those that the machines of a session have told.

    Attributes:
        channels: the fields that rules watch, of those.
        source: reads of a sample whose it is, and the watched fields that no sample has told yet.
        silent: what `source` reads of those where a sample does not tell them either.
        read: reads the fields that are kept.
        ranges: for each channel its place in what `read` returns, and that of its least value in `_Waiting.numbers`.
    """

    __slots__ = ("at_samples", "channels", "full", "ranges", "read", "silent", "source", "width")

    def __init__(self, channels: tuple[str, ...], untold: tuple[str, ...]) -> None:
        fields = tuple(dict.fromkeys((*_READINGS, *channels)))
        self.channels, self.silent = channels, (None,) * len(untold)
        self.source, self.read = attrgetter(*_SOURCE, *untold), attrgetter(*fields)
        self.ranges = tuple((fields.index(name), _AT_RANGES + 2 * n) for n, name in enumerate(channels))
        self.at_samples = _AT_RANGES + 2 * len(channels)
        self.width = 1 + len(fields)
        self.full = self.at_samples + MOST_WAITING * self.width


class _Waiting:
    """The samples of one patient that wait, in order, and which ones may.

    Attributes:
        source: the session, machine and unit of which they are, and no value of what no sample has told yet.
        numbers: the time of the newest sample, the time before which samples may wait, the newest arrival, and the
            least and greatest value of each channel with which they may; then of each sample its time and the fields
            that the session keeps, NaN where it has none. Times are Unix time in seconds. All lies in one array
            because most of the cost is memory that other patients have pushed out of the caches.
    """

    __slots__ = ("numbers", "session", "shape", "source", "state")

    def __init__(self, state: PatientState, sample: Telemetry, shape: _Shape) -> None:
        self.state, self.session, self.shape = state, state.sessions[sample.session_id], shape
        self.source: tuple[Any, ...] = (sample.session_id, sample.machine_id, sample.unit_id)
        self.numbers = array("d")


class WaitingSamples(Waits):
    """The samples of all patients of a partition that wait.

    Args:
        channels: the fields of samples that rules watch.
    """

    def __init__(self, channels: tuple[str, ...]) -> None:
        self._by_patient: dict[str, _Waiting] = {}
        self._unsettled: dict[str, _Waiting] = {}
        #: Patients of whom a sample was filed since all was settled: the next one is worth waiting for.
        self._recent: set[str] = set()
        #: Whose samples an event of another kind has just stopped.
        self._stopped: _Waiting | None = None
        self._watched = channels
        #: By the channels that were told.
        self._shapes = {channels: _Shape(channels, ())}

    def take(self, subject: str, event: Any, arrived: float) -> Change | None:
        """Let a sample wait and return the change, or None if the event must be filed at once.

        Args:
            subject: the patient.
            event: what arrived.
            arrived: when, as Unix time in seconds.
        """
        found = self._by_patient.get(subject)
        if found is None:
            return None
        if type(event) is not Telemetry:
            self._stopped = found
            self.stop(subject)
            return None
        shape = found.shape
        if shape.source(event) != found.source or not event.blood_flow_ml_min:
            self.stop(subject)
            return None
        numbers, at, values = found.numbers, (event.at - _EPOCH).total_seconds(), shape.read(event)
        if (
            not numbers[_AT] < at < numbers[_UNTIL]
            or not _LATEST_S <= at - arrived <= _BELIEVABLE_S
            or arrived > numbers[_ARRIVED] + _NEWS_S
        ):
            self.stop(subject)
            return None
        for place, low in shape.ranges:
            value = values[place]
            if value is not None and not numbers[low] <= value <= numbers[low + 1]:
                self.stop(subject)
                return None
        change, count = SAMPLED_AGAIN, len(numbers)
        if count == shape.at_samples:
            change = SAMPLED
            self._unsettled[subject] = found
        elif count >= shape.full:
            self._settle(found)
        numbers.fromlist([at, *(values if None not in values else [nan if one is None else one for one in values])])
        numbers[_AT] = at
        if arrived > numbers[_ARRIVED]:  # noqa: PLR1730 (of every sample; a call costs more)
            numbers[_ARRIVED] = arrived
        return change

    def begin(self, state: PatientState, event: Telemetry, received_at: datetime) -> None:
        """Let the samples after this one wait, which was filed just now, if they are likely to change little."""
        if state.id in self._recent:
            self._begin(_Waiting(state, event, self._shapes[self._watched]), event.at, received_at.timestamp())
        else:
            self._recent.add(state.id)

    def resume(self, state: PatientState) -> None:
        """Let samples wait again that another kind of event stopped, if nothing has changed for them."""
        found, self._stopped = self._stopped, None
        if found is not None and found.state is state:
            self._begin(found, _moment(found.numbers[_AT]), found.numbers[_ARRIVED])

    def _begin(self, made: _Waiting, moment: datetime, arrived: float) -> None:
        """Let samples wait after one of a moment, which is the newest of its session."""
        state, (session_id, source, unit_id) = made.state, made.source[: len(_SOURCE)]
        session = state.sessions.get(session_id)
        if (
            session is None
            or state.merged_into is not None
            or session.ends
            or not session.flows
            or session.flows[-1].until != moment
            or is_still(session)
            or source not in state.heard
            or source in state.behind
            or source in state.problems
            or (unit_id is not None and (state.unit_id, state.unit_id_at) != (unit_id, moment))
            or session.channels.keys() != set(self._watched)
            or session.heard_at is None
        ):
            return
        at = (moment - _EPOCH).total_seconds()
        made.shape = shape = self._shape(session)
        made.source = (session_id, source, unit_id, *shape.silent)
        calm = [session.channels[field].calm(int(at)) for field in shape.channels]
        until = min((one.until for one in calm), default=int(at) + LASTS_S)
        made.session = session
        arrived = max(arrived, session.heard_at.timestamp())
        made.numbers = array("d", [at, until, arrived, *(bound for one in calm for bound in (one.low, one.high))])
        self._by_patient[state.id] = made

    def _shape(self, session: Session) -> _Shape:
        told = tuple(field for field in self._watched if session.channels[field].at != NEVER_S)
        shape = self._shapes.get(told)
        if shape is None:
            shape = self._shapes[told] = _Shape(told, tuple(field for field in self._watched if field not in told))
        return shape

    def stop(self, subject: str) -> None:
        """File what waits of a patient; its next sample is filed at once."""
        self.settle(subject)
        self._by_patient.pop(subject, None)

    def settle(self, subject: str) -> None:
        """File what waits of a patient; its next samples may wait again."""
        found = self._unsettled.pop(subject, None)
        if found is not None:
            self._settle(found)

    def settle_all(self) -> None:
        """File all that waits; where it was several samples of a patient, the next ones may wait again."""
        for subject, found in self._unsettled.items():
            if len(found.numbers) < found.shape.at_samples + _WORTH_IT * found.shape.width:
                del self._by_patient[subject]
            self._settle(found)
        self._unsettled.clear()
        self._recent.clear()

    def _settle(self, found: _Waiting) -> None:
        """File samples as `streams.engine.sessions.file_sample` files them one by one."""
        shape, state, session = found.shape, found.state, found.session
        samples, width = found.numbers[shape.at_samples :], shape.width
        del found.numbers[shape.at_samples :]
        _, machine_id, unit_id = found.source[: len(_SOURCE)]
        arrived = _moment(found.numbers[_ARRIVED])
        state.heard_at = max(state.heard_at, arrived)
        state.heard[machine_id] = max(state.heard[machine_id], arrived)
        session.heard_at = arrived
        if unit_id is not None:
            state.unit_id_at = _moment(samples[-width])
        session.flows[-1].until = _moment(samples[-width])
        if (systolic := _newest(samples, width, 1)) is not None:
            session.systolic = newer(session.systolic, *systolic)
        if (uf_rate := _newest(samples, width, 2)) is not None:
            session.uf_rate = newer(session.uf_rate, *uf_rate)
        seconds = list(map(int, samples[::width]))
        for field, (place, _) in zip(shape.channels, shape.ranges, strict=True):
            session.channels[field].add_all(*_known(seconds, samples[1 + place :: width].tolist()))


#: Places in `_Waiting.numbers`.
_AT, _UNTIL, _ARRIVED, _AT_RANGES = range(4)


def _newest(samples: array[float], width: int, place: int) -> tuple[datetime, float] | None:
    """Return the newest of a reading and when it was taken."""
    for start in range(len(samples) - width, -1, -width):
        if not isnan(samples[start + place]):
            return _moment(samples[start]), samples[start + place]
    return None


def _known(seconds: list[int], values: list[float]) -> tuple[list[int], list[float]]:
    """Return the seconds and values of those samples that have a value."""
    if not isnan(sum(values)):  # it is NaN if one of them is
        return seconds, values
    known = [(second, value) for second, value in zip(seconds, values, strict=True) if not isnan(value)]
    return [second for second, _ in known], [value for _, value in known]


def _moment(seconds: float) -> datetime:
    """Return a moment; the microseconds of this century come back exactly."""
    return datetime.fromtimestamp(seconds, UTC)
