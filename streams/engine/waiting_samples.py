"""Samples that wait: those that no rule needs to look at are filed a few at a time.

Nearly every message is a sample of a running treatment: in order and in time, while blood flows, and on the known side
of every bound that a rule watches. Filing such a sample changes nothing that a rule would be asked about, so it waits
for the next ones. What is filed then is the same as one by one. Whoever evaluates or stores a patient has it filed
first.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime
from itertools import zip_longest
from math import isnan
from typing import Any, Final

from models.records import Telemetry
from models.state import PatientState, Session
from models.state.channel import LASTS_S, NEVER_S
from models.state.machine_setting import peak_until
from streams.engine.change import SAMPLED, SAMPLED_AGAIN, Change
from streams.engine.sample_reader import EPOCH, reader
from streams.engine.sender_clocks import BEHIND, BELIEVABLE
from streams.engine.sessions import newer, shorter
from streams.engine.told_settings import Words, file_settings, repeat_settings, told_of, told_until
from streams.engine.waits import Waits
from streams.rules.facts.implausible import SAMPLES
from streams.rules.facts.late_clocks import LATE
from streams.rules.facts.treatments import is_still
from streams.rules.inputs import HEARD_ANEW

#: How many samples of a patient wait at most.
MOST_WAITING: Final = 64
#: Where fewer samples than this wait between two checkpoints, filing each at once costs less.
_WORTH_IT: Final = 2
_LATEST_S: Final = -min(LATE, -BEHIND).total_seconds()
_BELIEVABLE_S: Final = BELIEVABLE.total_seconds()
#: Whether a sample that comes so late after the one before it is news is not decided here.
_NEWS_S: Final = HEARD_ANEW.total_seconds() - 0.001
#: The readings that a session keeps beside its channels.
_READINGS: Final = ("systolic_mmhg", "uf_rate_ml_h")


class _Shape:
    """Which fields of samples are kept: those that the machines of a session have told.

    Attributes:
        channels: the fields that rules watch, of those.
        read: reads a sample that may wait; None of one that tells more, or of which a field lies out of its range.
        places: for each channel its place in what `read` returns.
        edges: the range of each field that is kept, beyond which a number is left out; channels first.
        width: how many numbers a sample has.
    """

    __slots__ = ("at_samples", "channels", "edges", "full", "places", "read", "width")

    def __init__(self, channels: tuple[str, ...], untold: tuple[str, ...]) -> None:
        fields = tuple(dict.fromkeys((*_READINGS, *channels)))
        ranged = tuple(dict.fromkeys((*channels, *_READINGS)))
        self.channels, self.places = channels, tuple(1 + fields.index(name) for name in channels)
        self.edges = tuple(SAMPLES[name] for name in ranged)
        self.read = reader(fields, untold, tuple((name, _AT_RANGES + 2 * n) for n, name in enumerate(ranged)))
        self.at_samples = _AT_RANGES + 2 * len(ranged)
        self.width = 1 + len(fields)
        self.full = self.at_samples + MOST_WAITING * self.width


class _Waiting:
    """The samples of one patient that wait, in order, and which ones may: of this session, machine and unit.

    Attributes:
        arrived: the newest arrival.
        later: how many samples that wait arrived later than the one before.
        numbers: the time of the newest sample, the time before which samples may wait, and the least and greatest
            value of each field with which they may; then of each sample its time and the fields that the session
            keeps, NaN where it has none. Times are Unix time in seconds. All lies in one array because most of the
            cost is memory that other patients have pushed out of the caches.
        told: what the newest sample tells of settings.
        told_before: what other samples that wait told of them, and when the newest of each did.
    """

    __slots__ = (
        "arrived",
        "later",
        "machine_id",
        "numbers",
        "session",
        "session_id",
        "shape",
        "state",
        "told",
        "told_before",
        "unit_id",
    )

    def __init__(self, state: PatientState, sample: Telemetry, shape: _Shape, arrived: float) -> None:
        self.state, self.session, self.shape = state, state.sessions[sample.session_id], shape
        self.session_id, self.machine_id, self.unit_id = sample.session_id, sample.machine_id, sample.unit_id
        self.numbers, self.arrived, self.later = array("d"), arrived, 0
        self.told = told_of(sample)
        self.told_before: list[tuple[Words, float]] = []

    def hears(self, told: Words, at: float) -> bool:
        """Let a sample tell other settings than the one before; False if that says something new."""
        if not repeat_settings(self.session, told, int(at)):
            return False
        self.told_before.append((self.told, self.numbers[_AT]))
        self.told = told
        return True


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
        shape, numbers = found.shape, found.numbers
        if (
            event.session_id != found.session_id
            or event.machine_id != found.machine_id
            or event.unit_id != found.unit_id
            or (sample := shape.read(event, numbers)) is None
            or not numbers[_AT] < sample[0] < numbers[_UNTIL]
            or not _LATEST_S <= sample[0] - arrived <= _BELIEVABLE_S
            or arrived > found.arrived + _NEWS_S
        ):
            self.stop(subject)
            return None
        told = told_of(event)
        if told != found.told and not found.hears(told, sample[0]):
            self.stop(subject)
            return None
        change, count = SAMPLED_AGAIN, len(numbers)
        if count == shape.at_samples:
            change = SAMPLED
            self._unsettled[subject] = found
        elif count >= shape.full:
            self._settle(found)
        numbers.fromlist(sample)
        numbers[_AT] = sample[0]
        if arrived > found.arrived:
            found.arrived = arrived
            found.later += 1
        return change

    def begin(self, state: PatientState, event: Telemetry, received_at: datetime) -> None:
        """Let the samples after this one wait, which was filed just now, if they are likely to change little."""
        if state.id in self._recent:
            self._begin(_Waiting(state, event, self._shapes[self._watched], received_at.timestamp()), event.at)
        else:
            self._recent.add(state.id)

    def resume(self, state: PatientState) -> None:
        """Let samples wait again that another kind of event stopped, if nothing has changed for them."""
        found, self._stopped = self._stopped, None
        if found is not None and found.state is state:
            self._begin(found, _moment(found.numbers[_AT]))

    def _begin(self, made: _Waiting, moment: datetime) -> None:
        """Let samples wait after one of a moment, which is the newest of its session."""
        state, source, unit_id = made.state, made.machine_id, made.unit_id
        session = state.sessions.get(made.session_id)
        if (
            session is None
            or state.merged_into is not None
            or session.ends
            or not session.flows
            or session.flows[-1].until != moment
            or is_still(session)
            or source not in (session.machine_flows or (session.flowed_by,))
            or source not in state.heard
            or source in state.behind
            or source in state.problems
            or (unit_id is not None and (state.unit_id, state.unit_id_at) != (unit_id, moment))
            or session.channels.keys() != set(self._watched)
            or told_until(session) > (at := (moment - EPOCH).total_seconds())
            or not repeat_settings(session, made.told, int(at))
            or session.heard_at is None
            or session.gap_s < 0
        ):
            return
        made.shape = shape = self._shape(session)
        calm = [session.channels[field].calm(int(at)) for field in shape.channels]
        until = min((one.until for one in calm), default=int(at) + LASTS_S)
        until = min(until, peak_until(int(at)))  # from when on a sample that repeats the settings says something new
        made.session = session
        made.numbers = array("d", [at, until])
        for each, one in zip_longest(shape.edges, calm):
            made.numbers.append(each.low if one is None else max(each.low, one.low))
            made.numbers.append(each.high if one is None else min(each.high, one.high))
        made.arrived = max(made.arrived, session.heard_at.timestamp())
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
        arrived = _moment(found.arrived)
        state.heard_at = max(state.heard_at, arrived)
        state.heard[found.machine_id] = max(state.heard[found.machine_id], arrived)
        session.heard_at, session.gap_s = arrived, shorter(session.gap_s, found.later)
        found.later = 0
        if found.unit_id is not None:
            state.unit_id_at = _moment(samples[-width])
        session.flows[-1].until = _moment(samples[-width])
        if session.machine_flows:  # all others' samples are older, so this shows no two machines at the same time
            session.machine_flows[found.machine_id][-1].until = session.flows[-1].until
        for told, at in (*found.told_before, (found.told, found.numbers[_AT])):
            file_settings(session, told, _moment(at))
        found.told_before.clear()
        if (systolic := _newest(samples, width, 1)) is not None:
            session.systolic = newer(session.systolic, *systolic)
        if (uf_rate := _newest(samples, width, 2)) is not None:
            session.uf_rate = newer(session.uf_rate, *uf_rate)
        seconds = list(map(int, samples[::width]))
        for field, place in zip(shape.channels, shape.places, strict=True):
            session.channels[field].add_all(*_known(seconds, samples[place::width].tolist()))


#: Places in `_Waiting.numbers`.
_AT, _UNTIL, _AT_RANGES = range(3)


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
