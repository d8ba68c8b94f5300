"""The bands of a channel on either side of it, and those that lie about a setting which the channel should follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from models.alerts import EvidenceRecord, Priority
from models.state import Bound
from models.state.channel import NEVER_S
from streams.rules.api import PatientView
from streams.rules.facts.treatments import Treatment

#: A value of single precision that stands for the bound itself lies this near to it.
NOISE: Final = 1e-6
#: What is further behind is noise of the calculation, and would be stored.
_PLACES: Final = 9


@dataclass(frozen=True, slots=True)
class SustainedBand:
    """One band of a channel.

    Attributes:
        name: the name of its bound among a site's settings.
        priority: that of an alert once the channel has been beyond it for long enough.
        bound: in the unit of the rule; of a band that follows the setting the distance from it.
        source: where the bound comes from.
        above: whether it lies above its bound; None where the shape says it of all bands.
        closed: whether the bound itself lies beyond, not inside.
        follows: whether the bound lies at this distance from the newest setting; without a setting it is none.
        held_minutes: how long the channel must lie beyond it, where that is not the time of the rule.
    """

    name: str
    priority: Priority
    bound: float
    source: str
    above: bool | None = None
    closed: bool = False
    follows: bool = False
    held_minutes: float | None = None

    @property
    def held_name(self) -> str:
        """Return the name of its own time among a site's settings, or of that of the rule."""
        return "held_minutes" if self.held_minutes is None else f"{self.name}_held_minutes"

    def shifted(self, value: float, *, above: bool) -> float:
        """Return the bound of the channel so that noise of single precision on it changes nothing."""
        return round(value * (1 + NOISE if above is not self.closed else 1 - NOISE), _PLACES)


@dataclass(frozen=True, slots=True)
class Setting:
    """The newest setting of what a channel measures.

    Attributes:
        value: in the unit of the channel.
        since: from when the channel is held to it: the end of the minute in which it was changed, if that is known.
        evidence: what an alert shows of it.
    """

    value: float
    since: datetime | None
    evidence: EvidenceRecord


def setting_of(view: PatientView, rule: str, treatment: Treatment, field: str, unit: str) -> Setting | None:
    """Return the newest setting in the samples of a treatment, and watch it; None before the first sample.

    It holds until the next one. Another setting evaluates the rule at once.

    Args:
        view: the moment.
        rule: the name of the rule that asks.
        treatment: the treatment.
        field: the channel of the setting.
        unit: its unit.
    """
    kept = treatment.session.channels.get(field)
    at_once = 0, NEVER_S
    if kept is None or kept.at == NEVER_S:
        view.watch(treatment.session_id, field, {"first": Bound(0.0, above=True, waits=at_once)})
        return None
    up, down = kept.value * (1 + NOISE), kept.value * (1 - NOISE)
    bounds = {"up": Bound(up, above=True, waits=at_once), "down": Bound(down, above=False, waits=at_once)}
    view.watch(treatment.session_id, field, bounds)
    known = [kept.at_bound(f"{rule}:{name}", bound) for name, bound in bounds.items()]
    changed = max((bound.since for bound in known if bound.other != NEVER_S), default=None)
    since = None if changed is None else datetime.fromtimestamp((changed // 60 + 1) * 60, UTC)
    evidence = EvidenceRecord(
        kind="telemetry", id=treatment.session_id, name=field, value=kept.value, unit=unit, at=since or treatment.start
    )
    return Setting(kept.value, since, evidence)
