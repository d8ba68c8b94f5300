"""What a table expects of a transition: one line, and what follows the priority as `name=value`.

    expect = ["09:30 withdrawn medium reason=entered_in_error alert=1 evidence.id=c1,c2: a part of the summary"]

A name is a field of `Alert` (`reason`, `revision`, `session_id`, `onset_at`, `summary`, …) or one of these:

    alert         which alert of the case it is: 1 for the first, 2 for the second
    named_by      the input that the alert is named after, such as `symptom:c1` or `lab_result:r1`
    advises       a part of some advice or of its basis, in any case of letters
    advises_not   a part of none
    evidence.id   this field of each piece of evidence, in any order; so too `kind`, `name`, `value`, `unit` and `at`

In a value `_` stands for a space, `-` for null, and `d2_08:00` for a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from models.alerts import AlertRecord
from tests.unit.timeline import FIRST_DAY, id_of, moment


def unmet(expect: Sequence[str], told: Sequence[AlertRecord]) -> list[str]:
    """Return what differs between the lines of a table and the transitions; nothing when each is as expected."""
    if len(expect) != len(told):
        return [f"{len(expect)} transitions expected, told were {len(told)}", *map(shown, told)]
    numbers: dict[str, int] = {}
    found: list[str] = []
    for line, alert in zip(expect, told, strict=True):
        number = numbers.setdefault(alert.alert_id, len(numbers) + 1)
        found += [f"expected {line!r}, {what} in {shown(alert)!r}" for what in _differences(line, alert, number)]
    return found


def shown(alert: AlertRecord) -> str:
    """Return a transition as a table writes it, with its summary."""
    return f"{_time(alert.at)} {alert.transition} {alert.priority}: {alert.summary}"


def split_time(line: str) -> tuple[str, list[str]]:
    """Return the time that begins a line, and the words after it."""
    words = line.split()
    days = 2 if words[0].startswith("d") else 1
    return " ".join(words[:days]), words[days:]


def _differences(line: str, alert: AlertRecord, number: int) -> list[str]:
    head, _, summary = line.partition(": ")
    when, (transition, priority, *words) = split_time(head)
    found = [] if moment(when) == alert.at else ["another time"]
    found += [] if (transition, priority) == (alert.transition, alert.priority) else ["another transition"]
    found += [] if summary in alert.summary else ["another summary"]
    for word in words:
        name, _, value = word.partition("=")
        if not _is_so(name, value, alert, number):
            found.append(f"not so is {word}, it is {_value(alert, name)}")
    return found


def _is_so(name: str, value: str, alert: AlertRecord, number: int) -> bool:
    """Whether what a word of an expectation tells of an alert is true."""
    if name == "alert":
        return number == int(value)
    if name == "named_by":
        return str(alert.alert_id) == id_of(alert.rule, value, alert.patient_id or alert.water_loop_id or "")
    if name in ("advises", "advises_not"):
        return (value.lower() in _value(alert, name).lower()) is (name == "advises")
    wanted = ",".join(sorted(value.split(","))) if name.startswith("evidence.") else value
    return _value(alert, name) == wanted


def _value(alert: AlertRecord, name: str) -> str:
    """What an alert has under a name, as a table writes it."""
    if name in ("alert", "named_by"):
        return str(alert.alert_id)
    if name in ("advises", "advises_not"):
        return "\n".join(_plain(f"{advice.text} ({advice.basis})") for advice in alert.guidance)
    first, _, field = name.partition(".")
    found = getattr(alert, first)
    return ",".join(sorted(_plain(getattr(item, field)) for item in found)) if field else _plain(found)


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return (_time(value) if isinstance(value, datetime) else str(value)).replace(" ", "_")


def _time(when: datetime) -> str:
    since = when - FIRST_DAY
    day = f"d{since.days + 1} " if since.days else ""
    clock = f"{when:%H:%M:%S}" + (f".{when.microsecond:06}" if when.microsecond else "")
    return day + clock.removesuffix(":00")
