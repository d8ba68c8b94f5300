"""`sodium_profile` (R35): a sodium profile that does not fall from the beginning of a treatment to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import groupby, pairwise
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.analytes import MMOL_L
from models.events import Modality
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.inputs import SESSION

_REVIEW: Final = guidance(
    "Review the sodium profile with the prescriber: the article wants it higher early and then gradually lower, so "
    "that the patient does not go home with the sodium.",
    "article L27; clinical.md R35",
)
_CONFLICT: Final = guidance(
    "The article profiles the dialysate sodium; KDOQI advises against it, because the sodium balance becomes positive.",
    "article L26-L27 against KDOQI 2006 HD guideline 5.3",
)
#: How many steps the summary shows.
_SHOWN: Final = 8


class SodiumProfileLimits(Limits):
    """Nothing to set: the order of the steps decides."""


def find(view: PatientView) -> Iterator[Outcome]:
    """A profile that rises from one step to the next, or ends as high as it began, while the treatment runs.

    Its steps are sorted by minute. One value throughout is no profile. Isolated ultrafiltration has no dialysate. The
    newest start message of the treatment counts; over when that changes the profile, or with the treatment.
    """
    running = bedside.running(view)
    if running is None:
        return
    started = running.started
    if started is None or not started.sodium_profile or started.modality == Modality.IUF:
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    values = _values((step.minute, step.na_mmol_l) for step in started.sodium_profile)
    if len(values) == 1 or not (_rises(values) or values[-1] >= values[0]):
        return
    steps = ", ".join(f"{value:g}" for value in values[:_SHOWN]) + (", …" if len(values) > _SHOWN else "")
    why = "rises on the way" if values[-1] < values[0] else "does not end below its beginning"
    yield Finding(
        key=running.key,
        anchors=(f"session:{running.key}",),
        priority=Priority.LOW,
        onset_at=running.start,
        known_at=started.at,
        level_known_at=started.at,
        summary=f"Sodium profile {why}: {steps} mmol/L",
        guidance=(_REVIEW, _CONFLICT),
        evidence=(
            EvidenceRecord(
                kind="session", id=running.session_id, name="sodium_profile", value=steps, unit=MMOL_L, at=started.at
            ),
        ),
        session_id=running.session_id,
    )


def _values(steps: Iterable[tuple[float, float]]) -> list[float]:
    """Return the sodium of the steps by minute, in mmol/L, without repeats; of one minute the highest comes first."""
    ordered = sorted(steps, key=lambda step: (step[0], -step[1]))
    return [value for value, _ in groupby(value for _, value in ordered)]


def _rises(values: list[float]) -> bool:
    return any(later > earlier for earlier, later in pairwise(values))


RULE: Final = PatientRule(
    name="sodium_profile",
    version=1,
    family="session",
    ids="R35",
    title="Sodium profile that does not fall",
    inputs=(SESSION,),
    limits=SodiumProfileLimits,
    find=find,
    sources=("article L27", "KDOQI 2006 HD guideline 5.3", "clinical.md R35"),
)
