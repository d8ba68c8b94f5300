"""A dialysis unit on a timeline, to write what happens and what is told, one line each.

The real engine behind real parsing: every line goes as JSON bytes through `parse_line` into `Replay`.

    unit = Unit(watch="low_magnesium")
    unit.lab("magnesium", 1.6, at="08:00")
    unit.expect("08:00", "raised", priority="medium")
    unit.expect_nothing_more()

Times are "HH:MM", "HH:MM:SS" or "d3 HH:MM" (third day), UTC. Unanswered alerts call again only with `calls=True`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from models.alerts import Alert, AlertRecord, alert_id
from models.parsing import Parsed
from models.state import LoopState, PatientState, StateCodec
from streams.engine.factory import loop_partition, patient_partition
from streams.engine.replay import Line, Replay, parse_line
from streams.rules.catalogue import RuleSettings, parse_settings
from tests.events import event

FIRST_DAY = datetime(2026, 11, 23, tzinfo=UTC)
RETENTION = timedelta(minutes=15)
SILENT: dict[str, Any] = {"responses": {"high": [], "medium": [], "accept_risk": "a test that answers nothing"}}


def moment(when: str) -> datetime:
    """The moment of a time of the timeline; one that is written out with its offset is itself."""
    if "T" in when:
        return datetime.fromisoformat(when)
    day, _, clock = when.rpartition(" ")
    hours, minutes, *seconds = clock.split(":")
    since = timedelta(days=int(day.removeprefix("d")) - 1 if day else 0, hours=int(hours), minutes=int(minutes))
    return FIRST_DAY + since + timedelta(seconds=float(seconds[0]) if seconds else 0)


def stamp(when: str | datetime) -> str:
    """A time of the timeline in RFC 3339; what is written out already stays as it is."""
    if isinstance(when, datetime):
        return when.isoformat()
    return when if "T" in when else moment(when).isoformat()


def to_line(event: Mapping[str, Any]) -> Line:
    """The parsed line of an event given as JSON fields."""
    parsed = parse_line(msgspec.json.encode(event))
    assert isinstance(parsed, Parsed), f"the test's own event is unusable: {parsed}"
    return parsed


def restarted(replay: Replay, settings: RuleSettings) -> Replay:
    """The same unit in a new process: all that crosses over is the encoded state and the clock."""
    fresh = Replay(settings)
    fresh._patients, fresh._loops = patient_partition(settings, RETENTION), loop_partition(settings, RETENTION)
    patients, loops = StateCodec(PatientState), StateCodec(LoopState)
    fresh._patients.adopt([patients.decode(patients.encode(state)) for state in replay._patients.states.values()])
    fresh._loops.adopt([loops.decode(loops.encode(state)) for state in replay._loops.states.values()])
    fresh._patients.now, fresh._loops.now = replay._patients.now, replay._loops.now
    return fresh


@lru_cache(maxsize=64)
def _settings(rules: bytes) -> RuleSettings:
    """Read rule settings once: it takes longer than most cases of a table."""
    return parse_settings(msgspec.json.decode(rules))


class Unit:
    """What happens, and what is told.

    Args:
        watch: the rule whose transitions `expect` looks at; None for all.
        calls: whether unanswered alerts call again, as by default in production.
        rules: a site's rule settings.
    """

    def __init__(
        self, watch: str | None = None, *, calls: bool = False, rules: Mapping[str, Any] | None = None
    ) -> None:
        self.settings = _settings(msgspec.json.encode({**({} if calls else SILENT), **(rules or {})}))
        self.replay = Replay(self.settings)
        self.sent: list[dict[str, Any]] = []
        self.told: list[AlertRecord] = []
        self._watch = watch
        self._expected = 0
        self._names = 0

    # -- what happens ----------------------------------------------------------------------------------------------

    def send(self, type_: str, at: str, *, received: str | None = None, **fields: Any) -> None:
        """Send an event; fields that are None stay out."""
        made = event(type_, fields.pop("patient_id", "p1"), stamp(at), **fields)
        if received:
            made["received_at"] = stamp(received)
        self.sent.append({name: value for name, value in made.items() if value is not None})
        self._take(self.replay.take(to_line(self.sent[-1])))

    def lab(
        self,
        analyte: str | None,
        value: float | None,
        unit: str = "mg/dL",
        *,
        at: str,
        name: str | None = None,
        **f: Any,
    ) -> str:
        """A laboratory result; returns its id. `reported` is a time of the timeline."""
        name = name or self._name("lab-")
        reported = f.pop("reported", None)
        f["reported_at"] = stamp(reported) if reported else None
        self.send("lab_result", at, result_id=name, analyte=analyte, value=value, unit=unit, **f)
        return name

    def symptom(self, kind: str, *, at: str, name: str = "", ended: str | None = None, **f: Any) -> str:
        """A symptom; returns its id."""
        name = name or self._name("symptom-")
        self.send("symptom", at, symptom_id=name, kind=kind, ended_at=stamp(ended) if ended else None, **f)
        return name

    def session(self, name: str = "s1", *, at: str, machine: str = "m1", **f: Any) -> None:
        """A session starts."""
        self.send("session_started", at, session_id=name, machine_id=machine, **f)

    def session_end(self, name: str = "s1", *, at: str, **f: Any) -> None:
        """A session ends."""
        self.send("session_ended", at, session_id=name, **f)

    def telemetry(self, *, at: str, session: str = "s1", machine: str = "m1", **f: Any) -> None:
        """A sample of a machine."""
        self.send("telemetry", at, session_id=session, machine_id=machine, **f)

    def qtc(self, ms: float, *, at: str, **f: Any) -> None:
        """A QTc measurement."""
        self.send("rhythm", at, kind="qtc", qtc_ms=ms, **f)

    def respond(self, alert: str | AlertRecord, action: str, *, at: str, until: str | None = None, **f: Any) -> None:
        """A person answers an alert."""
        name = alert if isinstance(alert, str) else alert.alert_id
        f["until"] = stamp(until) if until else None
        self.send("alert_response", at, alert_id=name, action=action, by="nurse", **f)

    def clock(self, to: str | datetime) -> None:
        """Time passes without an event."""
        self._take(self.replay.advance(to if isinstance(to, datetime) else moment(to)))

    def restart(self) -> None:
        """The process dies and another one takes over from the stored state."""
        self.replay = restarted(self.replay, self.settings)

    def _take(self, told: Iterator[AlertRecord]) -> None:
        for alert in told:
            Alert.model_validate_json(msgspec.json.encode(alert))
            self.told.append(alert)

    def _name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    # -- what is told ----------------------------------------------------------------------------------------------

    @property
    def watched(self) -> list[AlertRecord]:
        """The transitions of the watched rule."""
        return [alert for alert in self.told if self._watch in (None, alert.rule)]

    def expect(self, at: str, transition: str, **fields: Any) -> AlertRecord:
        """The next transition not yet expected is this one; returns it."""
        assert self._expected < len(self.watched), f"{transition} expected at {at}; nothing more was told"
        alert = self.watched[self._expected]
        self._expected += 1
        wanted = {"at": moment(at), "transition": transition, **fields}
        found = {name: getattr(alert, name) for name in wanted}
        assert found == wanted, alert
        return alert

    def expect_nothing_more(self) -> None:
        """Every transition so far was expected."""
        assert [show(alert) for alert in self.watched[self._expected :]] == []

    @property
    def open(self) -> set[tuple[str, str, str, str]]:
        """The alerts that are open: rule, subject, status, priority."""
        return open_alerts(self.replay)


def show(alert: AlertRecord) -> str:
    """A transition in one line, for a failed assertion."""
    return (
        f"{alert.at:%d %H:%M:%S} {alert.rule} {alert.transition} {alert.status} {alert.priority} "
        f"({alert.reason}) rev {alert.revision}: {alert.summary}"
    )


def open_alerts(replay: Replay) -> set[tuple[str, str, str, str]]:
    """The open alerts of every patient and water loop: rule, subject and key, status, priority."""
    states: list[PatientState | LoopState] = [*replay._patients.states.values(), *replay._loops.states.values()]
    return {
        (alert.rule, f"{state.id}/{alert.key}", str(alert.status), str(alert.priority))
        for state in states
        for alert in state.alerts.values()
        if alert.status.is_open
    }


def id_of(rule: str, anchor: str, subject: str = "p1") -> str:
    """The id that an alert has when `anchor` (`lab_result:r1`) made its condition true."""
    return alert_id(rule, subject, anchor)
