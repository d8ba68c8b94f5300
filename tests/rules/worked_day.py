"""Writes the worked day: `python -m tests.rules.worked_day`. A test compares both files.

`docs/worked-day.jsonl` has the events of `docs/worked-day.txt`, `docs/worked-day.md` each patient's story with the
alerts that the engine raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from models.alerts import AlertRecord, Priority, Reason, Status, Transition
from tests.rules.day_events import DOCS, EVENTS, Day, Entry, day, events_document
from tests.rules.event_words import clock, in_words, samples

PATH: Final = DOCS / "worked-day.md"
_HEAD: Final = """\
# A worked day

{events} events of {patients} patients on 23 November 2026, some from the days before, and every alert message that they
give. Each story is in the order in which the events arrived. Beneath an event stands what it raised, changed or ended.
Times are those of the unit (Europe/Berlin), rules those of [rules.md](rules.md) with the thresholds as shipped. The
patients are invented.

```console
dialysis-alerts replay docs/worked-day.jsonl
```

plays [the same events](worked-day.jsonl) and prints the same messages in full. People edit
[worked-day.txt](worked-day.txt); `python -m tests.rules.worked_day` writes the events and this page from it, and a test
compares them.

How to read an alert: the rule's name leads to its page; then what happened to the alert, with its priority (high,
medium, low, info); then its summary. *Why* says what made the difference. *Advice* is told once,
with its basis in brackets.
An alert reports and explains: what is done about it is decided by people. Where nobody answers, it calls again.

{counts}"""
SAID: Final = {
    Transition.RAISED: "raised",
    Transition.UPDATED: "updated",
    Transition.ESCALATED: "up to",
    Transition.DEESCALATED: "down to",
    Transition.ACKNOWLEDGED: "acknowledged",
    Transition.SNOOZED: "put off",
    Transition.REMINDED: "calls again",
    Transition.RESOLVED: "ended",
    Transition.WITHDRAWN: "withdrawn",
    Transition.EXPIRED: "expired",
}
_OPEN: Final = {
    Status.ACTIVE: "not answered",
    Status.ACKNOWLEDGED: "acknowledged",
    Status.SNOOZED: "put off",
}
WHY: Final = {
    Reason.CONDITION_MET: "its condition holds",
    Reason.CONDITION_CLEARED: "its condition no longer holds",
    Reason.SEVERITY_CHANGED: "it became more severe",
    Reason.EVIDENCE_CHANGED: "there is new evidence",
    Reason.GATE_OPENED: "nothing holds it back any more",
    Reason.GATE_CLOSED: "something holds it back",
    Reason.RESULT_CORRECTED: "the laboratory corrected the result",
    Reason.RESULT_CANCELLED: "the laboratory cancelled the result",
    Reason.ENTERED_IN_ERROR: "it was entered in error",
    Reason.DEADLINE_PASSED: "what was expected did not come in time",
    Reason.UNACKNOWLEDGED: "nobody answered",
    Reason.ACKNOWLEDGED: "a person has seen it",
    Reason.SNOOZED: "a person put it off",
    Reason.SNOOZE_ENDED: "the time for which it was put off is over",
    Reason.RESOLVED_BY_PERSON: "a person closed it",
    Reason.UNCONFIRMED_END: "nobody told its end",
    Reason.SUPERSEDED: "the rule settings changed",
    Reason.RESULT_REPLACED: "another result replaced the result",
    Reason.PATIENT_LEFT: "the patient left",
    Reason.PATIENT_MERGED: "the record was merged into another",
    Reason.UNACKNOWLEDGED_BY_PERSON: "a person took back the acknowledgement",
    Reason.CONTRADICTED: "another sender contradicted it",
    Reason.INHIBITED: "a greater alert is open",
    Reason.INHIBITION_ENDED: "the greater alert is over",
}


def document(of: Day) -> str:
    """Return the text of `docs/worked-day.md`."""
    stories = [_story(of, patient, title) for patient, title in of.titles.items()]
    head = _HEAD.format(events=len(of.events), patients=len(of.titles), counts=_table(_counts(of)))
    alerts = f"## The alerts of the day\n\nIn the order in which they were raised.\n\n{_table(_alerts(of))}"
    return "\n".join([head, *stories, alerts])


def write(of: Day) -> None:
    """Write both files."""
    EVENTS.write_text(events_document(of), encoding="utf-8")
    PATH.write_text(document(of), encoding="utf-8")


def _story(of: Day, patient: str, title: str) -> str:
    teller = _Teller(of)
    lines = [f"## {patient}: {title}", ""]
    for entries in _together(of.of(patient)):
        if entries[0].prose:
            lines += [*([""] if lines[-1] else []), fill(entries[0].prose, 120), ""]
        lines += teller.lines(entries)
    return "\n".join([*lines, ""])


def _together(entries: list[Entry]) -> Iterator[list[Entry]]:
    """The entries one by one, but samples with the same readings that raised nothing in one piece with the next."""
    run: list[Entry] = []
    for entry in entries:
        if run and (run[-1].told or entry.prose or not _is_alike(run[-1], entry)):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _is_alike(one: Entry, other: Entry) -> bool:
    if one.event is None or other.event is None or one.event["type"] != "telemetry":
        return False
    return {**one.event, "at": ""} == {**other.event, "at": ""}


class _Teller:
    """Tells a patient's entries, and each advice once an alert."""

    def __init__(self, of: Day) -> None:
        self._rules = {alert.alert_id: alert.rule for alert in of.told}
        self._advised: dict[str, set[str]] = {}

    def lines(self, entries: list[Entry]) -> Iterator[str]:
        """Yield the lines of an entry, or of a row of samples."""
        first, last = entries[0], entries[-1]
        when = clock(first.at) if first is last else f"{clock(first.at)} to {clock(last.at)}"
        yield f"- **{when}** {self._words(entries)}"
        for alert in last.told:
            yield f"  - {self._alert(alert)}"
            yield from (f"    - {advice}" for advice in self._advice(alert))

    def _words(self, entries: list[Entry]) -> str:
        event = entries[0].event
        if event is None:
            return "*Time passes.*"
        if event["type"] == "telemetry":
            return samples(event, len(entries))
        return in_words(event, self._rules.get(event.get("alert_id", ""), ""))

    def _alert(self, alert: AlertRecord) -> str:
        """One message. An end repeats no summary: it is the one that was told last."""
        head = f"{_linked(alert)} **{_said(alert)}**"
        if alert.transition in (Transition.ACKNOWLEDGED, Transition.SNOOZED):
            return head
        summary = f": {alert.summary}." if alert.status.is_open and alert.reason is not Reason.UNACKNOWLEDGED else "."
        why = "" if alert.reason is Reason.CONDITION_MET else f" *Why:* {self._why(alert)}."
        return f"{head}{summary}{why}"

    def _why(self, alert: AlertRecord) -> str:
        if alert.reason is Reason.INHIBITED:
            return ", ".join(f"`{self._rules[each]}` is open" for each in alert.inhibited_by)
        if alert.reason is Reason.SEVERITY_CHANGED and alert.transition is Transition.DEESCALATED:
            return "it became less severe"
        return WHY[alert.reason]

    def _advice(self, alert: AlertRecord) -> Iterator[str]:
        """What there is to review, without what this alert has said before."""
        advised = self._advised.setdefault(alert.alert_id, set())
        for advice in alert.guidance if alert.status.is_open else ():
            if advice.text not in advised:
                advised.add(advice.text)
                yield f"*Advice:* {advice.text.rstrip('.')} ({advice.basis})."


def _said(alert: AlertRecord) -> str:
    """What happened to an alert, with its priority where that is news."""
    if alert.reason is Reason.UNACKNOWLEDGED:
        return f"calls again, {alert.priority}"
    word = SAID[alert.transition]
    if alert.transition in (Transition.ESCALATED, Transition.DEESCALATED):
        return f"{word} {alert.priority}"
    return f"{word}, {alert.priority}" if alert.status.is_open else word


def _linked(alert: AlertRecord) -> str:
    return f"[`{alert.rule}`](rules/{alert.family}.md#{alert.rule})"


def _alerts(of: Day) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("patient", "rule", "highest priority", "raised", "ended", "why it ended, or how it stands")
    ]
    for messages in _by_alert(of.told):
        first, last = messages[0], messages[-1]
        highest = max((each.priority for each in messages), key=lambda priority: priority.rank)
        ended = ("open", _OPEN[last.status]) if last.status.is_open else (clock(last.at), WHY[last.reason])
        rows.append((first.patient_id or "", _linked(first), str(highest), clock(first.at), *ended))
    return rows


def _by_alert(told: list[AlertRecord]) -> list[list[AlertRecord]]:
    """The messages of each alert, in the order in which the alerts were raised."""
    found: dict[str, list[AlertRecord]] = {}
    for alert in told:
        found.setdefault(alert.alert_id, []).append(alert)
    return list(found.values())


def _counts(of: Day) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("patient", "events", "of them samples", "alerts", "of them high", "alert messages")]
    totals = [0] * 5
    for patient in of.titles:
        found = of.of(patient)
        events = [entry.event for entry in found if entry.event is not None]
        told = [alert for entry in found for alert in entry.told]
        alerts = _by_alert(told)
        high = [each for each in alerts if any(alert.priority is Priority.HIGH for alert in each)]
        numbers = [len(events), sum(e["type"] == "telemetry" for e in events), len(alerts), len(high), len(told)]
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        rows.append((patient, *map(str, numbers)))
    return [*rows, ("all", *map(str, totals))]


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *body = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, tuple("---" for _ in head), *body))


if __name__ == "__main__":
    write(day())
