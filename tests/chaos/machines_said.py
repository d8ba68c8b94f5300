"""What machines have told of a treatment so far, as the oracle files it: its bounds, its samples, its alarms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

#: A treatment without an end lasts so long at most; a sample tells of the time after it for ten minutes (R32).
_LONGEST: Final = timedelta(hours=24)
SAMPLE_LASTS: Final = timedelta(minutes=10)
#: How far clocks of devices differ, and for how long blood may stand within one treatment.
_SKEW: Final = timedelta(minutes=5)
STANDS: Final = timedelta(minutes=30)
#: A longer gap between two samples tells how often a machine sends; each later sample shortens it by an eighth.
_MINUTE: Final = timedelta(minutes=1)
_SHORTER: Final = 7 / 8
#: Numbers of alarms in the nomenclature of ISO/IEEE 11073 (clinical.md 3.4): a name and its number are one alarm.
_NUMBERS: Final = {
    "MDC_EVT_HDIALY_ANTICOAG_SYRINGE_EMPTY": "198238",
    "MDC_EVT_HDIALY_BLD_PUMP_STOP": "198242",
    "MDC_EVT_HDIALY_BLOOD_LEAK": "198244",
    "MDC_EVT_HDIALY_SAFETY_DIALYSATE_COMPOSITION": "198256",
    "MDC_EVT_HDIALY_SAFETY_VEN_ACCESS": "198260",
    "MDC_EVT_HDIALY_SAFETY_VEN_AIR_DETECT": "198262",
    "MDC_EVT_HDIALY_UF_RATE_RANGE": "198276",
}


def second(moment: datetime) -> datetime:
    """Return the second of a moment: samples are kept by seconds."""
    return moment.replace(microsecond=0)


@dataclass(frozen=True)
class Word:
    """A message of an alarm."""

    name: str
    at: datetime
    heard: datetime
    phase: str
    priority: str | None
    latched: bool | None


def code_of(body: dict[str, Any]) -> str:
    """Return the number of an alarm."""
    code = str(body["code"])
    return _NUMBERS.get(code, code)


def alarm_id(body: dict[str, Any]) -> str:
    """Return what tells a message of an alarm from others: session, code, phase, and event id with its day or time."""
    at = datetime.fromisoformat(body["at"])
    event = body.get("event_id")
    when = f"{event}|{at.date().isoformat()}" if event else at.isoformat()
    return f"{body['session_id']}|{code_of(body)}|{body['phase']}|{when}"


@dataclass
class Temperature:
    """The samples of the temperature of the dialysate, as far as they tell since when it is beyond a bound (R36).

    Attributes:
        reached: when it has been beyond a bound for long enough, by bound, as long as it is beyond.
        back: when it came back, where it had been beyond for long enough.
        newest: the second of the newest sample.
    """

    reached: dict[str, datetime] = field(default_factory=dict)
    back: datetime | None = None
    newest: datetime | None = None
    _setting: float | None = None
    _moved: datetime | None = None

    def add(self, at: datetime, value: float, setting: float | None) -> None:
        """Add a sample; one that is older than the newest changes nothing, none that is played is beyond a bound."""
        at = second(at)
        if self.newest is not None and at <= self.newest:
            return
        if self.newest is not None and at - self.newest > SAMPLE_LASTS:
            self.reached, self.back = {}, None
        self.newest = at
        self._set_to(setting, at)
        beyond = dict(self._beyond(value))
        was_told = any(moment <= at for moment in self.reached.values())
        for name in self.reached.keys() - beyond.keys():
            del self.reached[name]
        for name, held in beyond.items():
            since = max(at, self._moved or at) if name.endswith("setting") else at
            self.reached.setdefault(name, since + held)
        if beyond:
            self.back = None
        elif was_told:
            self.back = at

    def _set_to(self, setting: float | None, at: datetime) -> None:
        """A bound that lies about a setting counts from the end of the minute in which that changed."""
        if setting is not None and setting != self._setting:
            if self._setting is not None:
                self._moved = at.replace(second=0) + _MINUTE
            self._setting = setting

    def _beyond(self, value: float) -> Iterator[tuple[str, timedelta]]:
        """R36: 38 and 41 lie beyond, 34 does not; 41 counts after half a minute, all others after 3 min."""
        three = 3 * _MINUTE
        if value < 34:
            yield "cold", three
        if value >= 38:
            yield "warm", three
        if value >= 41:
            yield "hot", _MINUTE / 2
        if self._setting is not None and value < self._setting - 0.5:
            yield "below setting", three
        if self._setting is not None and value > self._setting + 0.5:
            yield "above setting", three


@dataclass
class Treatment:
    """What machines have told of a session id. Nothing that is played uses one for two treatments.

    Attributes:
        first: its first message.
        started: the newest start message.
        flowed: when blood flowed last, and whether it stands by a newer sample.
        heard: when a sample arrived last; `spoke` is when anything of the session did.
        interval: how far samples lie apart, where that is more than a minute; None while there is only one.
        pressures: the readings of the cuff in the order of their times.
        alarms: their messages, by code and name.
        contradicted: its messages contradict each other.
    """

    name: str
    first: datetime
    started: dict[str, Any] = field(default_factory=dict)
    starts: list[datetime] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)
    flowed: datetime | None = None
    stands: bool = False
    heard: datetime | None = None
    spoke: datetime | None = None
    interval: timedelta | None = None
    temperature: Temperature = field(default_factory=Temperature)
    pressures: list[tuple[datetime, float]] = field(default_factory=list)
    alarms: dict[str, dict[str, Word]] = field(default_factory=dict)

    def hear(self, body: dict[str, Any], at: datetime, heard: datetime) -> str | None:
        """File a message; returns the identity of an alarm's message."""
        self.first = min(self.first, at)
        match body["type"]:
            case "session_started":
                if not self.starts or at >= max(self.starts):
                    self.started = body
                self.starts.append(at)
            case "session_ended":
                self.ends.append(at)
            case "telemetry":
                self._sample(body, at, heard)
            case "machine_alarm":
                word = Word(alarm_id(body), at, heard, body["phase"], body.get("priority"), body.get("latched"))
                self.alarms.setdefault(code_of(body), {}).setdefault(word.name, word)
                self.spoke = max(self.spoke or heard, heard)
                return word.name
        return None

    def _sample(self, body: dict[str, Any], at: datetime, heard: datetime) -> None:
        flow = body.get("blood_flow_ml_min")
        is_newest = self.flowed is None or at >= self.flowed
        if flow is not None and is_newest:
            self.stands = flow <= 0
            self.flowed = at if flow > 0 else self.flowed
        if self.heard is None:
            self.interval = None
        elif self.interval is None or heard - self.heard > _MINUTE:
            gap = heard - self.heard
            self.interval = max(gap if gap > _MINUTE else timedelta(0), (self.interval or timedelta(0)) * _SHORTER)
        elif is_newest:
            self.interval *= _SHORTER
        self.heard = heard
        self.spoke = max(self.spoke or heard, heard)
        if (value := body.get("dialysate_temp_c")) is not None:
            self.temperature.add(at, value, body.get("dialysate_temp_setting_c"))
        if (systolic := body.get("systolic_mmhg")) is not None and 30 <= systolic <= 300:
            self.pressures = sorted({*self.pressures, (second(at), systolic)})  # one that comes twice is one

    @property
    def ended(self) -> datetime | None:
        """When it ended, as far as that is known: a start after it, or blood that flows, disproves an end."""
        if not self.ends or (self.starts and max(self.starts) > max(self.ends)):
            return None
        ended = max(self.ends)
        return None if self.flowed is not None and self.flowed > ended + _SKEW else ended

    @property
    def over(self) -> datetime:
        """When it ended, or is taken to have ended."""
        flowed = [] if self.flowed is None else [self.flowed + SAMPLE_LASTS]
        return self.ended or max([self.first + _LONGEST, *flowed])

    @property
    def contradicted(self) -> bool:
        """Whether it was started again after its end, ended before its start, or its blood flowed after its end."""
        if not self.ends:
            return False
        again = any(ended < start <= ended + STANDS for ended in self.ends for start in self.starts)
        return again or (self.flowed is not None and self.flowed > max(self.ends) + _SKEW)
