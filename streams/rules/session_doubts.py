"""The part of `data_quality` that reports treatments whose messages contradict each other, or that last for days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import LONGEST_SESSION
from streams.rules.api import Finding, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.treatments import GOES_ON, READING_LASTS, may_contradict
from streams.rules.inputs import SESSION

#: How long an end is shown that came long after its treatment: nobody waits at that chair any more.
_SAID_FOR: Final = timedelta(hours=24)


def contradictory_sessions(view: PatientView) -> Iterator[Finding]:
    """Report treatments whose messages contradict each other; the safest reading holds meanwhile."""
    sessions = view.read(SESSION).sessions.values()
    for session in sessions:
        if not session.ends:
            view.look_at(session.first_at + LONGEST_SESSION + READING_LASTS)
    for treatment in bedside.sessions(view) if any(may_contradict(session) for session in sessions) else ():
        # Blood that stood for a while may flow on: one contradiction is reported once.
        until = treatment.over_at + (_SAID_FOR if treatment.is_late_end else GOES_ON)
        if not treatment.contradictions or view.now >= until:
            continue
        view.look_at(until)
        words, name = treatment.contradictions[0], f"session:{treatment.key}"
        reading = "it counts as over since then" if treatment.is_late_end else "it is watched on"
        yield Finding(
            key=name,
            anchors=(name,),
            priority=Priority.LOW,
            onset_at=treatment.start,
            known_at=treatment.start,
            level_known_at=treatment.start,
            summary=f"Session {treatment.session_id}: {words}; {reading}",
            guidance=(
                guidance("Check the session's start and end on the machine and in the record.", "clinical.md E07"),
            ),
            evidence=(
                EvidenceRecord(
                    kind="session",
                    id=treatment.session_id,
                    name="contradiction",
                    value=words,
                    unit=None,
                    at=treatment.start,
                ),
            ),
        )
