"""What was planted is found: an oracle that knows which alert should be open never misses one.

Each case plants the condition of one rule into things that, by the rulings of docs/contract.md, must not end it: ids
that are used again, clocks that differ, messages that contradict, answers from before. The oracle knows what it planted
and reads nothing back. Three faults of the engine that senders and devices once brought to light must be found.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from models.identity import version_key
from models.records import AlertResponse
from streams.engine import answers, filing, results
from streams.engine.replay import Replay
from streams.rules import cramp
from streams.rules.catalogue import default_settings
from streams.rules.facts import cramps
from tests.unit.random_events import HOUR, MINUTE, SKEWS, Event, random_events, single
from tests.unit.test_properties import in_time
from tests.unit.timeline import FIRST_DAY, id_of, open_alerts, restarted, to_line

#: More seeds: `PLANTED_SEEDS=5000 pytest tests/unit/test_planted.py`.
SEEDS: Final = int(os.environ.get("PLANTED_SEEDS", "100"))
RULES: Final = default_settings()
DAY: Final = 24 * HOUR
SECOND: Final = timedelta(seconds=1)
_RANKS: Final = ("info", "low", "medium", "high")


@dataclass
class Plot:
    """What happens to the patients of one case, and what must be open at the end of it.

    Attributes:
        rule: the rule whose condition is planted.
        subject: the patient or water loop that the alert is of.
        priority: what it must reach at least.
        ends: when the unit is looked at.
    """

    chance: random.Random
    rule: str = ""
    subject: str = "p1"
    priority: str = "low"
    ends: datetime = FIRST_DAY
    events: list[Event] = field(default_factory=list)

    def say(self, type_: str, at: datetime, *, after: timedelta = SECOND, patient: str = "p1", **fields: Any) -> None:
        """A message that arrives some time after what it tells of; some say nulls, some come twice."""
        if self.chance.random() < 0.3:
            fields = {"event_id": None, "unit_id": None, "source": None, **fields}
        said = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
        received = (at + after).isoformat()
        event = {"type": type_, "patient_id": patient, "at": at.isoformat(), "received_at": received, **said}
        self.events += [event] * self.chance.choice([1, 1, 2])
        self.ends = max(self.ends, at + after)

    def lab(self, at: datetime, name: str, analyte: str, value: float | None, unit: str, **fields: Any) -> None:
        """A result, told of an hour later where nothing else is said; some numbers come in single precision."""
        if value is not None and self.chance.random() < 0.5:
            value = single(value)
        ids = {"result_id": name, "analyte": analyte, "value": value, "unit": unit}
        self.say("lab_result", at, **{"after": HOUR, **ids, **fields})

    def maybe(self) -> bool:
        """Whether something happens that need not."""
        return self.chance.random() < 0.5


# -- what is planted --------------------------------------------------------------------------------------------------


def low_magnesium(plot: Plot) -> None:
    """A low magnesium beside results of the same id, older versions and answers from before it was known."""
    value, plot.priority = plot.chance.choice([(1.6, "medium"), (1.4, "medium"), (0.9, "high")])
    at = FIRST_DAY + 12 * HOUR
    name = "panel"
    reported = plot.chance.choice([None, at + HOUR, at + 2 * HOUR])
    plot.lab(at, name, "magnesium", value, "mg/dL", reported_at=reported)
    if plot.maybe():  # other analytes of the same report, also withdrawn
        plot.lab(at, name, "potassium", 4.5, "mmol/L", after=2 * HOUR)
        plot.lab(at, name, "sodium", None, "mmol/L", status="entered_in_error", after=3 * HOUR)
    if plot.maybe():  # the tube before dialysis under the same id, reported late
        plot.lab(at - 4 * HOUR, name, "magnesium", 2.1, "mg/dL", after=9 * HOUR)
    if plot.maybe():  # the first, preliminary version of it, late
        before = at + MINUTE if reported else None
        plot.lab(at, name, "magnesium", 2.0, "mg/dL", status="preliminary", reported_at=before, after=5 * HOUR)
    if plot.maybe():  # a correction of another result, under a new id
        plot.lab(at - DAY, "old", "magnesium", 1.2, "mg/dL")
        plot.lab(at - DAY, "new", "magnesium", 2.0, "mg/dL", replaces="old", after=DAY + 6 * HOUR)
    if plot.maybe():  # an answer to an alert that an older tube raised, from a device that is an hour ahead
        plot.lab(at - 6 * HOUR, name, "magnesium", 1.3, "mg/dL")
        answer: dict[str, Any] = {
            "alert_id": id_of("low_magnesium", f"lab_result:{name}").upper(),
            "by": "nurse",
            "action": "resolve",
        }
        plot.say("alert_response", at + 2 * HOUR, after=-90 * MINUTE, **answer)


def cramp_in_session(plot: Plot) -> None:
    """A cramp of which no end is known, in a session whose messages are as odd as they come."""
    plot.priority = "medium"
    start = FIRST_DAY + plot.chance.choice([8, 14, 22]) * HOUR
    at = start + plot.chance.choice([30, 60, 90, 150]) * MINUTE
    _odd_session(plot, start, at)
    if plot.maybe():  # a device that counts from 1 each session, yesterday
        plot.say("session_started", start - DAY, session_id="Y", machine_id="m1")
        plot.say("symptom", start - DAY + HOUR, symptom_id="1", kind="cramp", ended_at=start - DAY + 70 * MINUTE)
        plot.say("session_ended", start - DAY + 4 * HOUR, session_id="Y")
    if plot.maybe():
        plot.say("symptom", at - 5 * MINUTE, symptom_id="2", kind="nausea", ended_at=at - MINUTE)
        plot.say("symptom", at - 5 * MINUTE, symptom_id="2", kind="nausea", status="entered_in_error")
    plot.say("symptom", at, after=20 * SECOND, symptom_id="1", kind=plot.chance.choice(["cramp", "spasm"]), score=8)
    if plot.maybe():
        plot.say("symptom", at, after=30 * SECOND, symptom_id="1", kind="cramp", score=0)


def _odd_session(plot: Plot, start: datetime, at: datetime) -> None:
    """A session that began at `start` and runs at `at`, told of in one of the ways that contradict."""
    kind = plot.chance.choice(["usual", "no start", "ended before", "again", "moved", "mistake", "at its start"])
    session: dict[str, Any] = {"session_id": "A", "machine_id": "m1"}
    if kind == "at its start":
        plot.say("session_started", at + 4 * MINUTE, **session)
    elif kind != "no start":
        plot.say("session_started", start + plot.chance.choice([-4, 0, 4]) * MINUTE, **session)
    if kind in ("no start", "ended before", "moved"):
        for minute in range(10, int((at - start) / MINUTE) + 1, 10):
            plot.say("telemetry", start + minute * MINUTE, **session, blood_flow_ml_min=300.0)
    match kind:
        case "ended before":
            plot.say("session_ended", at - 15 * MINUTE, session_id="A")
        case "again":
            plot.say("session_ended", at - 20 * MINUTE, session_id="A")
            plot.say("session_started", at - 10 * MINUTE, **session)
        case "moved":
            plot.say("session_started", at - 12 * MINUTE, session_id="A", machine_id="m2", chair="9")
        case "mistake":
            plot.say("session_started", at - 15 * MINUTE, session_id="B", machine_id="m7")
            plot.say("session_ended", at - 10 * MINUTE, session_id="B")
        case _:
            pass


def suspicion(plot: Plot) -> None:
    """A jerk and a disturbed speech within a week, and nothing that excludes aluminium after they began."""
    plot.priority = "medium"
    first = FIRST_DAY + 2 * DAY + plot.chance.choice(SKEWS)
    second = first + plot.chance.choice([1, 30, 150]) * HOUR
    plot.say("symptom", first, symptom_id="1", kind=plot.chance.choice(["jerk", "myoclonus", "twitch"]))
    plot.say("symptom", second, symptom_id="2", kind=plot.chance.choice(["speech_disturbance", "disorientation"]))
    if plot.maybe():  # the ids of another day, ended and entered in error
        plot.say("symptom", first - 2 * DAY, symptom_id="1", kind="nausea", status="entered_in_error")
        plot.say("symptom", first - 2 * DAY, symptom_id="2", kind="cramp", ended_at=first - 2 * DAY + MINUTE)
    if plot.maybe():  # levels that exclude nothing: from before, preliminary, withdrawn
        plot.lab(first - HOUR, "al-0", "aluminum", 5.0, "ug/L", after=2 * HOUR)
        plot.lab(second, "al-1", "aluminum", 6.0, "ug/L", status="preliminary")
        plot.lab(second, "al-2", "aluminum", None, "ug/L", status="cancelled")


def overdue(plot: Plot) -> None:
    """A suspicion for a day and a bit, without a specimen that was drawn after it began."""
    plot.priority = "low"
    at = FIRST_DAY + 2 * DAY
    plot.say("symptom", at, symptom_id="1", kind="jerk", worse_after_dialysis=True)
    if plot.maybe():
        plot.lab(at - HOUR, "al", "aluminum", 5.0, "ug/L", after=3 * HOUR)
    if plot.maybe():
        plot.lab(at + HOUR, "al", "aluminum", None, "ug/L", status="entered_in_error")
    if plot.maybe():
        plot.lab(at + HOUR, "panel", "magnesium", 2.0, "mg/dL")
    plot.ends = at + DAY + MINUTE


def level(plot: Plot) -> None:
    """A raised aluminium, and one result below the band: it takes two to leave it."""
    at = FIRST_DAY + 12 * HOUR
    value, unit, plot.priority = plot.chance.choice(
        [(30.0, "ug/L", "low"), (80.0, "ng/mL", "medium"), (160.0, "ug/L", "high"), (6.0, "umol/L", "high")]
    )
    plot.lab(at, "panel", "aluminum", value, unit)
    if plot.maybe():
        plot.lab(at, "panel", "magnesium", 2.0, "mg/dL", after=2 * HOUR)
    if plot.maybe():
        plot.lab(at - 5 * HOUR, "panel", "aluminum", 4.0, "ug/L", after=7 * HOUR)


def quality(plot: Plot) -> None:
    """A magnesium whose unit nobody knows, and other results that are usable."""
    at = FIRST_DAY + 12 * HOUR
    plot.lab(at, "panel", "magnesium", 1.5, plot.chance.choice(["?", "", "mg"]))
    if plot.maybe():
        plot.lab(at - 4 * HOUR, "panel", "magnesium", 2.0, "mg/dL", after=6 * HOUR)
    if plot.maybe():
        plot.lab(at, "panel", "potassium", 4.5, "mmol/L", after=2 * HOUR)


def cluster(plot: Plot) -> None:
    """Two patients of one water loop with a level from 60 ug/L within 30 days; a third one of another loop."""
    plot.subject, plot.priority = "loop-x", "high"
    for number, patient in enumerate(("p1", "p3", "p4")):
        loop = "loop-y" if patient == "p4" else "loop-x"
        start = FIRST_DAY + number * plot.chance.choice([HOUR, 7 * DAY])
        where: dict[str, Any] = {"session_id": f"s-{patient}", "machine_id": "m1", "water_loop_id": loop}
        plot.say("session_started", start, patient=patient, **where)
        plot.lab(start + HOUR, "panel", "aluminum", 80.0, "ug/L", patient=patient)
        if plot.maybe():
            plot.lab(start + HOUR, "panel", "sodium", 140.0, "mmol/L", patient=patient, after=2 * HOUR)


PLANTS: Final[dict[str, Callable[[Plot], None]]] = {
    "low_magnesium": low_magnesium,
    "intradialytic_cramp": cramp_in_session,
    "aluminum_suspicion": suspicion,
    "aluminum_result_overdue": overdue,
    "aluminum_level": level,
    "data_quality": quality,
    "aluminum_cluster": cluster,
}


def plotted(rule: str, seed: int) -> Plot:
    """A case: what is planted, beside whatever happens to another patient meanwhile."""
    plot = Plot(random.Random(f"{rule}:{seed}"), rule)
    PLANTS[rule](plot)
    noise = random_events(plot.chance, 8)
    noise = [event for event in noise if event["patient_id"] == "p2"]
    plot.events += [event for event in noise if datetime.fromisoformat(event["received_at"]) <= plot.ends]
    plot.events = in_time(plot.events)
    plot.ends += MINUTE
    return plot


# -- the oracle -------------------------------------------------------------------------------------------------------


def missed(plot: Plot, events: list[Event], *, restarts: bool = False) -> str | None:
    """What is open instead, if what was planted is not."""
    replay = Replay(RULES)
    for event in events:
        list(replay.take(to_line(event)))
        if restarts:
            replay = restarted(replay, RULES)
    list(replay.advance(plot.ends))
    found = open_alerts(replay)
    wanted = _RANKS.index(plot.priority)
    for rule, where, status, priority in found:
        is_of = rule == plot.rule and where.partition("/")[0] == plot.subject
        if is_of and status == "active" and _RANKS.index(priority) >= wanted:
            return None
    return f"no active {plot.rule} of {plot.subject} from {plot.priority} on; open: {sorted(found)}"


def misses(rule: str, seeds: range) -> Iterator[str]:
    """What is missed, in the order of arrival, in two others, and over restarts."""
    for seed in seeds:
        plot = plotted(rule, seed)
        orders = [plot.events, *(random.Random(n).sample(plot.events, len(plot.events)) for n in range(2))]
        for number, events in enumerate(orders):
            if wrong := missed(plot, events, restarts=seed % 5 == 0 and number == 0):
                yield f"seed {seed}, order {number}: {wrong}\n" + "\n".join(map(str, events))


@pytest.mark.parametrize("rule", PLANTS)
def test_nothing_that_was_planted_is_missed(rule: str) -> None:
    assert next(misses(rule, range(SEEDS)), None) is None


def _by_id_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(record: Any) -> str:
        return f"{record.result_id}|any|{version_key(record)}"

    monkeypatch.setattr(results, "analyte_of", lambda _record: "any")
    monkeypatch.setattr(results, "group_of", lambda record: f"{record.result_id}|any|")
    monkeypatch.setattr(results, "version_key", key)


def _answers_by_their_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_own_clock(state: Any, event: Any, _received_at: datetime, horizon: datetime) -> Any:
        return answers.file_response(state, event, event.at, horizon)

    monkeypatch.setitem(filing._FILERS, AlertResponse, by_own_clock)


def _sessions_from_start_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def between(found: Any, moment: datetime) -> Any:
        for piece in found:
            starts, ends = piece.session.starts, piece.session.ends
            if starts and starts[0].at <= moment and (not ends or moment <= ends[0].at):
                return piece
        return None

    for module in (cramp, cramps):
        monkeypatch.setattr(module, "treatment_at", between)


@pytest.mark.parametrize(
    ("rule", "sabotage"),
    [
        ("low_magnesium", _by_id_alone),
        ("low_magnesium", _answers_by_their_own_clock),
        ("intradialytic_cramp", _sessions_from_start_to_end),
    ],
)
def test_a_fault_is_found(
    rule: str, sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    assert next(misses(rule, range(SEEDS)), None) is not None
