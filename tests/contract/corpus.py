"""A recorded corpus: events with the transitions that the engine made of them, byte for byte.

It guards work that must change nothing: moved modules, a new rule interface, another layout of the state. The events
stand in a file, so a change to the generators of the tests does not touch them. `python -m tests.contract.corpus`
draws the events anew; with `--expected` it only records anew what the engine makes of the events that are there, which
is right after a change of behaviour that was meant, and never otherwise.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from models.alerts import AlertRecord
from models.parsing import Parsed
from streams.engine.replay import Replay, parse_line
from streams.rules.catalogue import parse_settings
from tests.unit.random_events import Event, random_events
from tests.unit.timeline import FIRST_DAY

ROOT: Final = Path(__file__).resolve().parents[1] / "data"
CASES: Final = ROOT / "corpus" / "cases.jsonl.gz"
EXPECTED: Final = ROOT / "corpus" / "expected.jsonl.gz"
#: After everything: every silence, call and snooze is over.
_END: Final = FIRST_DAY + timedelta(days=12)
_SETTINGS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"responses": {"high": [], "medium": [], "accept_risk": "a corpus that answers nothing"}},
    {"aluminum_cluster": {"patients": 2}},
)


@dataclass(frozen=True)
class Case:
    """One run of `replay`.

    Attributes:
        name: what the case is, unique.
        lines: the events as text, unusable ones included.
        until: how far the clock runs on after the last line.
        rules: the site's rule settings.
    """

    name: str
    lines: list[str]
    until: datetime
    rules: dict[str, Any] = field(default_factory=dict)


def run(case: Case) -> list[str]:
    """The transitions of a case in order, as JSON."""
    return [msgspec.json.encode(alert).decode() for alert in _transitions(case)]


def _transitions(case: Case) -> Iterator[AlertRecord]:
    replay = Replay(parse_settings(case.rules))
    for line in case.lines:
        parsed = parse_line(line.encode())
        if isinstance(parsed, Parsed):
            yield from replay.take(parsed)
    yield from replay.advance(case.until)


def cases() -> list[Case]:
    """The recorded cases."""
    return [msgspec.json.decode(line, type=Case) for line in _lines(CASES)]


def expected() -> dict[str, list[str]]:
    """The recorded transitions by case."""
    recorded: dict[str, list[str]] = {}
    for line in _lines(EXPECTED):
        recorded |= msgspec.json.decode(line, type=dict[str, list[str]])
    return recorded


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def _draw() -> Iterator[Case]:
    """Every field file, and random events of every type in three sizes, with answers to some of the alerts."""
    for path in sorted((ROOT / "field").glob("*.jsonl")):
        yield Case(f"field/{path.stem}", path.read_text(encoding="utf-8").splitlines(), datetime.fromisoformat(
            "2026-12-31T00:00:00+00:00"))  # fmt: skip
    for count, sets in ((28, 45), (120, 24), (400, 3)):
        for seed in range(sets):
            yield _random_case(count, seed)


def _random_case(count: int, seed: int) -> Case:
    chance = random.Random(f"{count}/{seed}")
    events = random_events(chance, count, leave=seed % 3 == 1, merged=seed % 3 == 2)
    rules = _SETTINGS[seed % len(_SETTINGS)]
    name = f"random/{count}-{seed}"
    unanswered = Case(name, _in_order_of_arrival(events), _END, rules)
    told = list(_transitions(unanswered))
    events += [_answer(chance, alert) for alert in chance.sample(told, min(len(told), 2 + count // 30))]
    return Case(name, _in_order_of_arrival(events), _END, rules)


def _in_order_of_arrival(events: list[Event]) -> list[str]:
    return [json.dumps(event) for event in sorted(events, key=lambda event: str(event["received_at"]))]


def _answer(chance: random.Random, alert: AlertRecord) -> Event:
    at = alert.at + chance.choice([timedelta(0), timedelta(minutes=3), timedelta(hours=7), -timedelta(hours=1)])
    until = at + chance.choice([timedelta(hours=1), timedelta(days=20)])
    subject = {"patient_id": alert.patient_id} if alert.patient_id else {"water_loop_id": alert.water_loop_id}
    return {
        "type": "alert_response" if alert.patient_id else "unit_alert_response",
        "at": at.isoformat(),
        "received_at": (at + chance.choice([timedelta(0), timedelta(minutes=10)])).isoformat(),
        "alert_id": alert.alert_id,
        "action": chance.choice(["acknowledge", "acknowledge", "snooze", "resolve", "unacknowledge"]),
        "by": "nurse",
        "until": until.isoformat(),
        **subject,
    }


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), 9, mtime=0))


def main(arguments: list[str]) -> None:
    """Record the corpus."""
    if "--expected" not in arguments:
        _write(CASES, [msgspec.json.encode(asdict(case)).decode() for case in _draw()])
    found = [{case.name: run(case)} for case in cases()]
    _write(EXPECTED, [json.dumps(each) for each in found])
    print(len(found), "cases,", sum(len(told) for each in found for told in each.values()), "transitions")


if __name__ == "__main__":
    main(sys.argv[1:])
