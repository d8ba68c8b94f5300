"""`dialysate_sodium_high` (R33): the dialysate sodium is set high, which one source advises and the other warns of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from models.alerts import BoundRecord, Priority
from models.state.machine_setting import Origin, Run
from streams.rules.api import Finding, Limits, Lingering, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts.chair_settings import Set, dialysed_now, endings, look_at_end, set_now
from streams.rules.facts.labs import as_compared
from streams.rules.inputs import SESSION, setting
from streams.rules.thresholds import Minutes, Silences

_FIELD: Final = "dialysate_na_mmol_l"
_CONFLICT: Final = guidance(
    "Review the dialysate sodium with the prescriber, the sources disagree: the article raises it to 148 mmol/L "
    "against spasms, especially early in the session; KDOQI warns of a high dialysate sodium and of sodium profiling.",
    "article L26; KDOQI 2006 guideline 5.3; clinical.md R33, 2.10",
)
_FOLLOW_UP: Final = guidance(
    "Check weight gain and blood pressure before the next treatments: a higher sodium goes with a larger gain.",
    "article L55; clinical.md R34, 2.10",
)
_BY_USER: Final = guidance(
    "A user set it, and no order of this value is known: check the prescription.", "IHE (MSET, RSET); clinical.md R33"
)
_CRITICAL: Final = guidance(
    "It is above every value that a source names: check the prescription, the concentrate and the conductivity.",
    "clinical.md R33 (critical limit ours)",
)
_WORDS: Final[dict[Origin | None, str]] = {
    "ordered": "as ordered",
    "user": "set by a user",
    None: "it is not known who set it",
}


class DialysateSodiumLimits(Limits):
    """Bounds of the dialysate sodium in mmol/L."""

    ascending = (("note", "high", "critical"),)

    note: float = Field(default=140.0, gt=0, description="mmol/L: info from this on; KDOQI 5.3, clinical.md R33, 2.10")
    high: float = Field(
        default=145.0, gt=0, description="mmol/L: low from this on, medium where a user set it; contract, R33"
    )
    critical: Annotated[float, Silences.RAISED] = Field(
        default=150.0, gt=0, description="mmol/L: high above this; clinical.md R33 (ours)"
    )
    keep_minutes: Minutes = Field(
        default=5, description="min for which a higher value counts after it was left (ours): one alert, no flapping"
    )

    def bound_of(self, value: float) -> float:
        """Return the bound of the band that a value reaches."""
        compared = as_compared(value)
        if compared > self.critical:
            return self.critical
        return self.high if compared >= self.high else self.note


def find(view: PatientView) -> Iterator[Outcome]:
    """The dialysate sodium that the running treatment is set to; one alert a treatment.

    It is over 5 min after it was set below the lowest bound, or with the treatment. Isolated ultrafiltration has none.
    """
    running = dialysed_now(view)
    yield from endings(view)
    found = set_now(view, running, _FIELD, "mmol/L") if running else None
    if running is None or found is None:
        return
    limits = view.limits(DialysateSodiumLimits)
    level = _level(limits, found, found.run)
    kept, kept_until = None, view.now
    if len(found.kept.runs) > 1:
        kept_until = found.begun(found.run) + timedelta(minutes=limits.keep_minutes)
        if view.now < kept_until:
            kept = _level(limits, found, found.kept.runs[-2])
    if level is None and kept is None:
        return
    look_at_end(view, running)
    if level is None:
        yield Lingering(running.key, kept_until)
        return
    if kept is not None and kept.rank > level.rank:
        view.look_at(kept_until)
        level = kept
    yield _finding(limits, found, level)


def _level(limits: DialysateSodiumLimits, found: Set, run: Run) -> Priority | None:
    """Return the priority of a run; a bound belongs to its band, but for the critical one."""
    value = as_compared(run.value)
    if value > limits.critical:
        return Priority.HIGH
    if value >= limits.high:
        return Priority.MEDIUM if found.kept.origin_of(run) == "user" else Priority.LOW
    return Priority.INFO if value >= limits.note else None


def _finding(limits: DialysateSodiumLimits, found: Set, level: Priority) -> Finding:
    treatment, since = found.treatment, found.begun(found.run)
    onset = since
    for run in reversed(found.kept.runs):
        if _level(limits, found, run) is None:
            break
        onset = found.begun(run)
    return Finding(
        key=treatment.key,
        anchors=(f"session:{treatment.key}",),
        priority=level,
        onset_at=onset,
        known_at=since,
        level_known_at=since,
        summary=f"Dialysate sodium {found.value:g} mmol/L, {_WORDS[found.origin]}",
        guidance=tuple_of(
            _CRITICAL if level is Priority.HIGH else None,
            _BY_USER if found.origin == "user" else None,
            _CONFLICT,
            _FOLLOW_UP,
        ),
        evidence=(found.evidence(found.value, since),),
        session_id=treatment.session_id,
        bound=BoundRecord(value=limits.bound_of(found.value), unit=found.unit),
    )


RULE: Final = PatientRule(
    name="dialysate_sodium_high",
    version=1,
    family="session",
    ids="R33 R38",
    title="Dialysate sodium is set high",
    inputs=(SESSION, setting(_FIELD)),
    limits=DialysateSodiumLimits,
    find=find,
    lingers=True,
    sources=("article L26", "KDOQI 2006 guideline 5.3", "clinical.md R33, 2.10"),
)
