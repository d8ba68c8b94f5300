"""What the machine of the running treatment is set to, and who set it.

A setting holds until a sample tells another one. Samples from up to `GOES_ON` before the start count, too: machines
are set while they are prepared, and some tell a setting only when it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from models.alerts import EvidenceRecord, Reason, Status
from models.state import Setting
from models.state.machine_setting import Origin, Run, Told
from streams.rules.api import Ending, PatientView
from streams.rules.facts import bedside
from streams.rules.facts.labs import as_compared
from streams.rules.facts.treatments import GOES_ON, SKEW, Treatment
from streams.rules.inputs import SESSION, setting

#: Isolated ultrafiltration has no dialysate (clinical.md R38).
_ISOLATED: Final = "IUF"


@dataclass(frozen=True, slots=True)
class Set:
    """What one setting of a treatment is now.

    Attributes:
        treatment: the treatment.
        field: as the field of a sample is called.
        unit: UCUM.
        kept: its runs, and the newest words on it.
    """

    treatment: Treatment
    field: str
    unit: str
    kept: Setting

    @property
    def run(self) -> Run:
        """Return the newest run."""
        return self.kept.runs[-1]

    @property
    def value(self) -> float:
        """Return the value, as it is compared."""
        return as_compared(self.run.value)

    @property
    def origin(self) -> Origin | None:
        """Return who set it; None if nobody says so."""
        return self.kept.origin_of(self.run)

    def begun(self, run: Run) -> datetime:
        """Return when a run began; with the treatment if it lasts since another one under the same id."""
        first = _moment(run.first)
        return first if first >= self.treatment.start - GOES_ON else self.treatment.start

    def counts(self, told: Told | None) -> Told | None:
        """Return a word on it if it is one of this treatment."""
        return told if told is not None and _moment(told.at) >= self.treatment.start - GOES_ON else None

    @staticmethod
    def told_at(told: Told) -> datetime:
        """Return when a word on it was said last."""
        return _moment(told.at)

    def evidence(self, value: float, at: datetime) -> EvidenceRecord:
        """Return a value of it as evidence."""
        return EvidenceRecord(
            kind="telemetry", id=self.treatment.session_id, name=self.field, value=value, unit=self.unit, at=at
        )


def dialysed_now(view: PatientView) -> Treatment | None:
    """Return the treatment that runs now, if it has dialysate."""
    running = bedside.running(view)
    return None if running is None or (running.started and running.started.modality == _ISOLATED) else running


def set_now(view: PatientView, treatment: Treatment, field: str, unit: str) -> Set | None:
    """Return a setting of a treatment; None if no sample of it tells."""
    view.read(SESSION, setting(field))
    kept = treatment.session.settings.get(field)
    if kept is None or _moment(kept.runs[-1].last) < treatment.start - GOES_ON:
        return None
    return Set(treatment, field, unit, kept)


def highest(view: PatientView, treatment: Treatment, field: str) -> float | None:
    """Return the highest value of a setting in a treatment, as it is compared; None if no sample of it tells.

    It is kept by quarters of a day (`Setting.peaks`), also after the end.
    """
    view.read(SESSION, setting(field))
    kept = treatment.session.settings.get(field)
    since, until = treatment.start - GOES_ON, treatment.over_at + SKEW
    found = [one.value for one in (kept and kept.peaks) or () if since <= _moment(one.at) <= until]
    return as_compared(max(found)) if found else None


def endings(view: PatientView, *keys: str) -> Iterator[Ending]:
    """Yield the endings of conditions that end with their treatment; `keys` are appended to that of the treatment."""
    for ended in bedside.just_ended(view):
        for key in keys or ("",):
            yield Ending(ended.key + key, Status.RESOLVED, Reason.CONDITION_CLEARED)


def look_at_end(view: PatientView, treatment: Treatment) -> None:
    """Ask for a look once a treatment is over."""
    view.look_at(treatment.over_at + timedelta(microseconds=1))


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
