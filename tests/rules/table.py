"""Cases of rules as tables: `tests/rules/<family>.toml`, one `[[case]]` each.

    [[case]]
    rule = "high_potassium"
    name = "haemolysed lowers one level"
    events = ["08:00 lab potassium 6.2 mmol/L haemolysed"]
    expect = ["08:00 raised low"]

An event is its time ("HH:MM" or "d3 HH:MM", UTC), what it is, and what it tells:

    lab <analyte> [<]<value> <unit>    symptom <kind>    qtc <ms>    session    session_end    clock    answer <action>
    samples <until> every=<seconds>    weight pre|post kg=<kg>    profile
    <ordered|administered|changed|held|stopped|cancelled> <drug> [<dose><mg|iu>] [x<doses a day>] [<route>]
    schedule <planned start, "HH:MM" or "d3_HH:MM">

and then words that stand for themselves (`haemolysed`, `preliminary`, `corrected`, `cancelled`, `entered_in_error`,
…) or `name=value`: `id`, `received`, `reported`, `ended`, `flags`, `patient` and any field of the event.
An expectation is the time, the transition and the priority of each transition of the rule, in order, and may go on
with `: ` and a part of the summary.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from models.alerts import AlertRecord
from tests.unit.timeline import FIRST_DAY, Unit, moment, stamp

FOLDER: Final = Path(__file__).parent
_STATUSES: Final = ("preliminary", "final", "corrected", "cancelled", "entered_in_error")
_FLAGS: Final = ("haemolysed", "worse_after_dialysis", "inpatient")
_STEPS: Final = ("ordered", "administered", "changed", "held", "stopped", "cancelled")


@dataclass(frozen=True)
class Case:
    """One case of a table."""

    rule: str
    name: str
    events: tuple[str, ...]
    expect: tuple[str, ...]
    until: str = ""
    rules: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


def cases() -> list[Case]:
    """Every case of every table."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.toml")):
        found += msgspec.convert(_tables(path)["case"], list[Case], strict=True)
    return found


@dataclass(frozen=True)
class Sustained:
    """What a sustained rule needs beside its samples: earlier events, and the unit of its bounds."""

    setup: tuple[str, ...]
    factor: float


def sustained() -> dict[str, Sustained]:
    """By the rule's name."""
    found: dict[str, Sustained] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        found |= msgspec.convert(_tables(path).get("sustained", {}), dict[str, Sustained], strict=True)
    return found


def _tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Runner:
    """Plays the lines of a case into a unit."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.unit = Unit(watch=case.rule, rules=case.rules)
        self._count: dict[str, int] = {}

    def run(self) -> Runner:
        """All events, and the clock to the end."""
        for line in self.case.events:
            self.play(line)
        if self.case.until:
            self.unit.clock(self.case.until)
        return self

    def play(self, line: str, **changed: Any) -> None:
        """One event; what is `changed` stands in place of what the line tells."""
        when, kind, words = _split(line)
        plain, fields = _words(words)
        fields |= changed
        received = fields.pop("received", None)
        if kind == "clock":
            self.unit.clock(when)
            return
        _KINDS[kind](self, when, plain, {"received": received, **fields})

    def told(self) -> list[str]:
        """The transitions of the rule, as a table expects them, with their summaries."""
        return [_shown(alert) for alert in self.unit.watched]

    def name(self, kind: str, fields: dict[str, Any]) -> str:
        """The id of an event: given, or counted by kind, so that a repeat needs to name it."""
        if "id" in fields:
            return str(fields.pop("id"))
        self._count[kind] = self._count.get(kind, 0) + 1
        return f"{kind}{self._count[kind]}"


def _split(line: str) -> tuple[str, str, list[str]]:
    words = line.split()
    if words[0].startswith("d"):
        words[0:2] = [" ".join(words[0:2])]
    return words[0], words[1], words[2:]


def _words(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    plain: list[str] = []
    fields: dict[str, Any] = {}
    for word in words:
        name, is_field, value = word.partition("=")
        if word in _STATUSES:
            fields["status"] = word
        elif word in _FLAGS:
            fields[word] = True
        elif is_field and name not in ("<", ">"):
            fields[name] = _value(name, value)
        else:
            plain.append(word)
    return plain, fields


def _value(name: str, text: str) -> Any:
    if name == "flags":
        return text.split(",")
    if name in ("received", "reported", "ended", "due"):
        return text.replace("_", " ")
    try:
        return float(text)
    except ValueError:
        return text


def _lab(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    analyte, text, unit = plain
    comparator = text[: len(text) - len(text.lstrip("<>="))] or None
    value = None if text == "-" else float(text.lstrip("<>="))
    name = runner.name("lab", fields)
    runner.unit.lab(analyte, value, unit, at=when, name=name, comparator=comparator, **_patient(fields))


def _symptom(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.symptom(plain[0], at=when, name=runner.name("symptom", fields), **_patient(fields))


def _session(runner: Runner, when: str, _plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.session(str(fields.pop("id", "s1")), at=when, **_patient(fields))


def _session_end(runner: Runner, when: str, _plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.session_end(str(fields.pop("id", "s1")), at=when, **_patient(fields))


def _qtc(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.qtc(float(plain[0]), at=when, **_patient(fields))


def _answer(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    fields.pop("received", None)
    runner.unit.respond(runner.unit.watched[-1], plain[0], at=when, **_patient(fields))


def _samples(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    """Samples from the line's time up to and including another, one every so many seconds."""
    every, received = timedelta(seconds=fields.pop("every")), fields.pop("received", None)
    name = str(fields.pop("id", "s1"))
    now, until = moment(when), moment(plain[0].replace("|", " "))
    while now <= until:
        runner.unit.telemetry(at=stamp(now), session=name, received=received, **_patient(dict(fields)))
        now += every


def _weight(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.send("weight", when, moment=plain[0], **_patient(fields))


def _profile(runner: Runner, when: str, _plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.send("patient_profile", when, **_patient(fields))


def _step(action: str) -> Callable[[Runner, str, list[str], dict[str, Any]], None]:
    """A step of an order; one order a drug unless `id` tells otherwise. `_` in the drug's name is a space."""

    def play(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
        drug, *details = plain
        for word in details:
            if word.startswith("x") and word[1:].replace(".", "").isdigit():
                fields["doses_per_day"] = float(word[1:])
            elif word.endswith(("mg", "iu")) and word[:-2].replace(".", "").isdigit():
                fields[f"dose_{word[-2:]}"] = float(word[:-2])
            else:
                fields["route"] = word
        fields["due_at"] = stamp(fields.pop("due")) if "due" in fields else None
        order = str(fields.pop("id", drug))
        name = drug.replace("_", " ")
        runner.unit.send("medication", when, order_id=order, drug=name, action=action, **_patient(fields))

    return play


def _schedule(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    planned = stamp(plain[0].replace("_", " "))
    name = str(fields.pop("id", "s1"))
    runner.unit.send("schedule", when, session_id=name, planned_start=planned, **_patient(fields))


def _patient(fields: dict[str, Any]) -> dict[str, Any]:
    if "patient" in fields:
        fields["patient_id"] = fields.pop("patient")
    return fields


_KINDS: Final[dict[str, Callable[[Runner, str, list[str], dict[str, Any]], None]]] = {
    "lab": _lab,
    "symptom": _symptom,
    "session": _session,
    "session_end": _session_end,
    "qtc": _qtc,
    "answer": _answer,
    "samples": _samples,
    "weight": _weight,
    "profile": _profile,
    "schedule": _schedule,
    **{action: _step(action) for action in _STEPS},
}


def _shown(alert: AlertRecord) -> str:
    since = alert.at - FIRST_DAY
    day = f"d{since.days + 1} " if since.days else ""
    clock = f"{alert.at:%H:%M:%S}".removesuffix(":00")
    return f"{day}{clock} {alert.transition} {alert.priority}: {alert.summary}"


def matches(expected: str, told: str) -> bool:
    """Whether a transition is the expected one: all that the expectation tells of it."""
    wanted, _, summary = expected.partition(": ")
    found, _, whole = told.partition(": ")
    return wanted == found and summary in whole


def is_input(line: str) -> bool:
    """Whether a line is a result, a symptom, or a step of an order, which may come in any order."""
    return _split(line)[1] in ("lab", "symptom", *_STEPS)


def can_be_wrong(line: str) -> bool:
    """Whether a line can be entered in error."""
    return _split(line)[1] in ("lab", "symptom")


def at(line: str) -> str:
    """The time of a line."""
    return _split(line)[0]


__all__ = [
    "Case",
    "Runner",
    "Sustained",
    "at",
    "can_be_wrong",
    "cases",
    "is_input",
    "matches",
    "moment",
    "stamp",
    "sustained",
]
