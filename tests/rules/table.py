"""Cases of rules as tables: `tests/rules/<family>.toml`, one `[[case]]` each.

    [[case]]
    rule = "high_potassium"
    name = "haemolysed lowers one level"
    events = ["08:00 lab potassium 6.2 mmol/L haemolysed"]
    expect = ["08:00 raised low"]

An event is its time, what it is, and what it tells. The time is "HH:MM" or "d3 HH:MM" (UTC), or written out with an
offset ("2026-10-25T02:30:00+02:00"):

    lab <analyte or LOINC code> [<]<value> <unit>    symptom <kind>    qtc <ms>    rhythm <kind>    session
    session_end    clock    answer <action>    samples <until> every=<seconds>    weight pre|post kg=<kg>    profile
    <ordered|administered|changed|held|stopped|cancelled> <drug> [<dose><mg|iu>] [x<doses a day>] [<route>]
        [times=<how many of them> every=<hours>]
    schedule <planned start, "HH:MM" or "d3_HH:MM">
    alarm <code> start|continue|end [high|medium|low] [text=<_ for a space>]

and then words that stand for themselves (`haemolysed`, `preliminary`, `corrected`, `cancelled`, `entered_in_error`,
…) or `name=value`: `id`, `received`, `reported`, `ended`, `flags`, `patient` and any field of the event. An answer is
to the rule's last alert, or with `rule=<name>` to another rule's.

An expectation is the time, the transition and the priority of each transition of the rule, in order, and may go on
with more of it (`tests/rules/expected.py`) and with `: ` and a part of the summary. A case looks at its rule alone;
`leaves_open = []` says of every rule which have an open alert at the end.

What several cases share:

    [before]                                    # events with which cases begin that say `before = "a_session"`
    a_session = ["08:00 session"]

    each.kind = ["cramp", "spasm"]              # the case once for each; `{kind}` stands for it in every line
    events = ["09:00 symptom {kind}"]           # with two lists: once for each of one with each of the other
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.rules.expected import shown, split_time, unmet
from tests.unit.timeline import Unit, moment, stamp

FOLDER: Final = Path(__file__).parent
_STATUSES: Final = ("preliminary", "final", "corrected", "cancelled", "entered_in_error")
_FLAGS: Final = ("haemolysed", "worse_after_dialysis", "inpatient")
_STEPS: Final = ("ordered", "administered", "changed", "held", "stopped", "cancelled")
_TIMES: Final = ("received", "reported", "ended", "due")
_NAMES: Final = ("id", "patient", "machine", "chair", "rule")
_LOINC: Final = re.compile(r"\d+-\d")


@dataclass(frozen=True)
class Case:
    """One case of a table."""

    rule: str
    name: str
    events: tuple[str, ...]
    expect: tuple[str, ...]
    until: str = ""
    rules: dict[str, Any] = field(default_factory=dict)
    before: str = ""
    leaves_open: tuple[str, ...] | None = None
    each: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


def cases() -> list[Case]:
    """Every case of every table."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.toml")):
        tables = _tables(path)
        shared = msgspec.convert(tables.get("before", {}), dict[str, tuple[str, ...]], strict=True)
        for case in msgspec.convert(tables["case"], list[Case], strict=True):
            events = (*(shared[case.before] if case.before else ()), *case.events)
            found += _for_each(replace(case, events=events))
    return found


def _for_each(case: Case) -> Iterator[Case]:
    """A case once for each combination of its lists."""
    for values in product(*case.each.values()):

        def filled(line: str, values: tuple[str, ...] = values) -> str:
            for name, value in zip(case.each, values, strict=True):
                line = line.replace(f"{{{name}}}", value)
            return line

        yield replace(
            case,
            name=": ".join((case.name, *values)),
            events=tuple(map(filled, case.events)),
            expect=tuple(map(filled, case.expect)),
        )


@dataclass(frozen=True)
class Sustained:
    """What a sustained rule needs beside its samples: earlier events, the unit of its bounds, and a value at rest.

    `follows` is the value of the setting about which some bands lie; only samples for these tell it.
    """

    setup: tuple[str, ...]
    factor: float
    rest: float | None = None
    follows: float | None = None


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
        when, (kind, *words) = split_time(line)
        plain, fields = _words(words)
        fields |= changed
        received = fields.pop("received", None)
        if kind == "clock":
            self.unit.clock(when)
            return
        _KINDS[kind](self, when, plain, {"received": received, **fields})

    def told(self) -> list[str]:
        """The transitions of the rule, as a table expects them, with their summaries."""
        return [shown(alert) for alert in self.unit.watched]

    def unmet(self) -> list[str]:
        """What of the expectations is not so."""
        found = unmet(self.case.expect, self.unit.watched)
        still_open = {rule for rule, *_ in self.unit.open}
        if self.case.leaves_open is not None and still_open != set(self.case.leaves_open):
            found.append(f"open at the end: {sorted(still_open)}")
        return found

    def name(self, kind: str, fields: dict[str, Any]) -> str:
        """The id of an event: given, or counted by kind, so that a repeat needs to name it."""
        if "id" in fields:
            return str(fields.pop("id"))
        self._count[kind] = self._count.get(kind, 0) + 1
        return f"{kind}{self._count[kind]}"


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
    if name in ("flags", "conditions", "sodium_profile"):
        return _steps(text) if name == "sodium_profile" else text.split(",")
    if name in _TIMES:
        return text.replace("_", " ")
    if name in _NAMES or name.endswith("_id"):
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _steps(text: str) -> list[dict[str, float]]:
    """The steps of a sodium profile, of which "0:148,120:140" has two: the minute and the sodium."""
    steps = (step.split(":") for step in text.split(","))
    return [{"minute": float(minute), "na_mmol_l": float(sodium)} for minute, sodium in steps]


def _lab(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    code, text, unit = plain
    analyte, fields["loinc"] = (None, code) if _LOINC.fullmatch(code) else (code, None)
    fields["comparator"] = text[: len(text) - len(text.lstrip("<>="))] or None
    value = None if text == "-" else float(text.lstrip("<>="))
    name = runner.name("lab", fields)
    runner.unit.lab(analyte, value, unit, at=when, name=name, **_patient(fields))


def _symptom(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.symptom(plain[0], at=when, name=runner.name("symptom", fields), **_patient(fields))


def _session(runner: Runner, when: str, _plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.session(str(fields.pop("id", "s1")), at=when, **_patient(fields))


def _session_end(runner: Runner, when: str, _plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.session_end(str(fields.pop("id", "s1")), at=when, **_patient(fields))


def _qtc(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.qtc(float(plain[0]), at=when, **_patient(fields))


def _rhythm(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    runner.unit.send("rhythm", when, kind=plain[0], **_patient(fields))


def _answer(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    """To the last alert that the rule has told, or another rule; about the patient or the loop that it is of."""
    fields.pop("received", None)
    rule = fields.pop("rule", runner.case.rule)
    alert = [told for told in runner.unit.told if told.rule == rule][-1]
    loop = None if alert.patient_id else alert.water_loop_id
    runner.unit.respond(alert, plain[0], at=when, patient_id=alert.patient_id, water_loop_id=loop, **fields)


def _samples(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    """Samples from the line's time up to another, one every so many seconds; `field=100..97` is a ramp."""
    every, received = timedelta(seconds=fields.pop("every")), fields.pop("received", None)
    name = str(fields.pop("id", "s1"))
    start, until = moment(when), moment(plain[0].replace("|", " "))
    now = start
    while now <= until:
        part = (now - start) / (until - start) if until > start else 0.0
        now_said = {field: _on_ramp(value, part) for field, value in fields.items()}
        runner.unit.telemetry(at=stamp(now), session=name, received=received, **_patient(now_said))
        now += every


def _on_ramp(value: Any, part: float) -> Any:
    """What a field says at some part of its way from one value to another; any other value as it is."""
    if not isinstance(value, str) or ".." not in value:
        return value
    first, last = map(float, value.split(".."))
    return first + (last - first) * part


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
        times, every = int(fields.pop("times", 1)), timedelta(hours=fields.pop("every", 0))
        fields = {"order_id": order, "drug": drug.replace("_", " "), "action": action, **_patient(fields)}
        for number in range(times):
            runner.unit.send("medication", stamp(moment(when) + number * every), **fields)

    return play


def _schedule(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    planned = stamp(plain[0].replace("_", " "))
    name = str(fields.pop("id", "s1"))
    runner.unit.send("schedule", when, session_id=name, planned_start=planned, **_patient(fields))


def _alarm(runner: Runner, when: str, plain: list[str], fields: dict[str, Any]) -> None:
    """A message of the machine's own alarm, in the session `id`; `at` where its own clock says something else."""
    code, phase, *priority = plain
    fields["text"] = str(fields["text"]).replace("_", " ") if "text" in fields else None
    fields["session_id"] = str(fields.pop("id", "s1"))
    fields["machine_id"] = fields.pop("machine", "m1")
    fields["priority"] = priority[0] if priority else None
    runner.unit.send("machine_alarm", when, code=code, phase=phase, **_patient(fields))


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
    "rhythm": _rhythm,
    "answer": _answer,
    "samples": _samples,
    "weight": _weight,
    "profile": _profile,
    "schedule": _schedule,
    "alarm": _alarm,
    **{action: _step(action) for action in _STEPS},
}


def is_input(line: str) -> bool:
    """Whether a line is an input of one moment, such as a result or a step of an order, which may come in any order."""
    return split_time(line)[1][0] in ("lab", "symptom", "qtc", "rhythm", "weight", "alarm", *_STEPS)


def can_be_wrong(line: str) -> bool:
    """Whether a line can be entered in error."""
    return split_time(line)[1][0] in ("lab", "symptom")


def last_time(line: str) -> str:
    """The last time that a line names: when it happened, or when it was received, reported or over."""
    when, (_kind, *words) = split_time(line)
    fields = _words(words)[1]
    times: list[str] = [when, *(fields[name] for name in _TIMES if name in fields)]
    return max(times, key=moment)


__all__ = [
    "Case",
    "Runner",
    "Sustained",
    "can_be_wrong",
    "cases",
    "is_input",
    "last_time",
    "moment",
    "stamp",
    "sustained",
]
