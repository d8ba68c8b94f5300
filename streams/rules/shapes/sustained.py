"""A channel of a machine's samples that lies beyond a bound for a while: one alert a treatment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from pydantic import Field, create_model

from models.alerts import EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.state import Bound, Channel, PatientState
from models.state.channel import LASTS_S, NEVER_S
from streams.rules.api import Ending, Finding, Limits, Lingering, Outcome, PatientRule, PatientView, Rule
from streams.rules.facts import bedside
from streams.rules.facts.treatments import Treatment, is_still, treatment_at
from streams.rules.inputs import PAUSE, SESSION, Input, channel
from streams.rules.thresholds import Minutes

#: A value of single precision that stands for the bound itself lies this near to it.
_NOISE: Final = 1e-6
#: What is further behind is noise of the calculation, and would be stored.
_PLACES: Final = 9
#: An ended treatment ends its alert for so long after.
_ENDED_FOR: Final = timedelta(days=1)


class SustainedLimits(Limits):
    """The times of a rule of this shape; its bands are added to them."""

    held_minutes: Minutes = 5
    keep_minutes: Minutes = 5


class Policy(Enum):
    """What becomes of a condition while nothing is known of it."""

    ENDS = "ends"
    HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class SustainedBand:
    """One band of a channel.

    Attributes:
        name: the name of its bound among a site's settings.
        priority: that of an alert once the channel has been beyond it for long enough.
        bound: in the unit of the rule; the bound itself lies inside.
        source: where the bound comes from.
    """

    name: str
    priority: Priority
    bound: float
    source: str


@dataclass(frozen=True, slots=True)
class Scale:
    """What the unit of the rule is, in the unit of the channel: a rate per kg is the weight times the rate.

    Attributes:
        factor: one unit of the rule, in the unit of the channel.
        evidence: the input that gives it.
        known_at: when that became known, where it belongs to what an answer covers.
    """

    factor: float
    evidence: EvidenceRecord
    known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A condition of a treatment that needs no sample, such as a plan beyond the bound."""

    priority: Priority
    since: datetime
    summary: str
    evidence: tuple[EvidenceRecord, ...]


Bounds = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SustainedShape:
    """A channel, its bands, and how a rule on them decides.

    Attributes:
        name: the contract's name of the rule.
        field: the channel, as the field of a sample is called.
        unit: of the channel, and of the bounds.
        what: begins the summary, such as "Ultrafiltration rate".
        above: whether it is beyond a bound above it, not below.
        bands: the mildest first.
        advice: what to review.
        gap: what becomes of the condition after `LASTS_S` without a sample.
        paused: what becomes of it while blood stands.
        scale: the unit of the rule; None where it is unknown, and nothing is found. Without it, that of the channel.
        bounds: the bounds in force of a treatment, where they depend on more than the settings.
        standing: a condition that needs no sample.
        limits: the thresholds, which `sustained` makes of the bands.
    """

    name: str
    field: str
    unit: tuple[str, str]
    what: str
    above: bool
    bands: tuple[SustainedBand, ...]
    advice: tuple[GuidanceRecord, ...]
    gap: Policy = Policy.ENDS
    paused: Policy = Policy.ENDS
    scale: Callable[[PatientView, Treatment], Scale | None] | None = None
    bounds: Callable[[PatientView, Treatment, Scale | None], Bounds] | None = None
    standing: Callable[[PatientView, Treatment, Scale | None], Standing | None] | None = None
    limits: type[SustainedLimits] = SustainedLimits

    def find(self, view: PatientView) -> Iterator[Outcome]:
        """The channel of the running treatment, watched at the bounds in force."""
        state = view.read(SESSION, PAUSE)
        assert isinstance(state, PatientState)  # noqa: S101 (for the type checker)
        found = bedside.sessions(view)
        running = treatment_at(found, view.now, timedelta(0))
        for ended in found:
            if ended is not running and view.now - _ENDED_FOR <= ended.over_at <= view.now:
                yield Ending(ended.key, Status.RESOLVED, Reason.CONDITION_CLEARED)
        if running is None:
            return
        view.look_at(running.over_at + timedelta(microseconds=1))
        scale = self.scale(view, running) if self.scale else None
        if self.scale is not None and scale is None:
            view.watch(running.session_id, self.field, {})
            return
        bounds = self._bounds(view, running, scale)
        standing = self.standing(view, running, scale) if self.standing else None
        kept = self._channel(running)
        known = {} if kept is None else {name: kept.at_bound(f"{self.name}:{name}", b) for name, b in bounds.items()}
        if running.key not in state.held.get(self.name, ()) and not any(bound.is_out for bound in known.values()):
            for bound in bounds.values():
                bound.waits = bound.waits[0], NEVER_S  # there is nothing that could end
        view.watch(running.session_id, self.field, bounds)
        unknown_since = None if kept is None else self._unknown_since(view, running, kept)
        out = {name: bound for name, bound in known.items() if bound.is_out and unknown_since is None}
        if out:
            yield self._finding(view, running, scale, out, standing)
        elif standing is not None:
            yield self._of_standing(running, standing)
        elif (inside_since := unknown_since or self._inside_since(known)) is not None:
            yield Lingering(running.key, inside_since + timedelta(minutes=view.limits(self.limits).keep_minutes))

    def _channel(self, running: Treatment) -> Channel | None:
        """Return the channel of a treatment; None before its first sample."""
        kept = running.session.channels.get(self.field)
        return None if kept is None or kept.at == NEVER_S else kept

    def _inside_since(self, known: dict[str, Bound]) -> datetime | None:
        """Return since when the channel lies inside the mildest band; None if no sample tells."""
        mildest = known.get(self.bands[0].name)
        return None if mildest is None or mildest.since == NEVER_S else _moment(mildest.since)

    def _bounds(self, view: PatientView, running: Treatment, scale: Scale | None) -> dict[str, Bound]:
        limits = view.limits(self.limits)
        chosen: Bounds = {band.name: getattr(limits, band.name) for band in self.bands}
        if self.bounds is not None:
            chosen = {**chosen, **self.bounds(view, running, scale)}
        factor = (scale.factor if scale else 1.0) * (1 + _NOISE if self.above else 1 - _NOISE)
        waits = round(60 * limits.held_minutes), round(60 * limits.keep_minutes)
        return {name: Bound(round(bound * factor, _PLACES), self.above, waits) for name, bound in chosen.items()}

    def _unknown_since(self, view: PatientView, running: Treatment, kept: Channel) -> datetime | None:
        """Return since when no sample tells of the channel, or blood stands, where that ends the condition."""
        over = _moment(kept.at) + timedelta(seconds=LASTS_S)
        if self.gap is Policy.ENDS:
            if any(bound.is_out for bound in kept.bounds.values()):
                view.look_at(over + timedelta(microseconds=1))
            if view.now > over:
                return over
        if self.paused is Policy.ENDS and is_still(running.session):
            return running.flowed_until or running.start
        return None

    def _finding(
        self,
        view: PatientView,
        running: Treatment,
        scale: Scale | None,
        beyond: dict[str, Bound],
        standing: Standing | None,
    ) -> Finding:
        held_for = timedelta(minutes=view.limits(self.limits).held_minutes)
        since = {name: _moment(bound.since) for name, bound in beyond.items()}
        onset = min(since.values())
        held = [band for band in self.bands if band.name in since and view.now >= since[band.name] + held_for]
        for band in self.bands:
            if band.name in since and band not in held:
                view.look_at(since[band.name] + held_for)
        if not held and standing is not None:
            return self._of_standing(running, standing)
        band = held[-1] if held else next(band for band in self.bands if band.name in since)
        priority = band.priority
        if standing is not None and standing.priority.rank > priority.rank:
            priority = standing.priority
        bound, (channel_unit, unit) = beyond[band.name], self.unit
        limit = bound.value / (scale.factor if scale else 1.0)
        side = "above" if self.above else "below"
        reading = EvidenceRecord(
            kind="telemetry",
            id=running.session_id,
            name=self.field,
            value=bound.crossed,
            unit=channel_unit,
            at=since[band.name],
        )
        known_at = since[band.name]
        if scale is not None and scale.known_at is not None:
            known_at = max(known_at, scale.known_at)
        return Finding(
            key=running.key,
            anchors=(f"session:{running.key}",),
            priority=priority,
            onset_at=onset if standing is None else min(onset, standing.since),
            known_at=known_at,
            level_known_at=known_at,
            summary=f"{self.what} {side} {limit:.4g} {unit} for {held_for.total_seconds() / 60:g} min",
            guidance=self.advice,
            evidence=(reading, *((scale.evidence,) if scale else ()), *(standing.evidence if standing else ())),
            session_id=running.session_id,
            counts_from=None if held else onset + held_for,
        )

    def _of_standing(self, running: Treatment, standing: Standing) -> Finding:
        return Finding(
            key=running.key,
            anchors=(f"session:{running.key}",),
            priority=standing.priority,
            onset_at=standing.since,
            known_at=standing.since,
            level_known_at=standing.since,
            summary=standing.summary,
            guidance=self.advice,
            evidence=standing.evidence,
            session_id=running.session_id,
        )


@dataclass(frozen=True)
class SustainedRule(Rule[PatientState]):
    """A rule of this shape, with what it was made of."""

    shape: SustainedShape | None = None


def sustained(
    shape: SustainedShape,
    *,
    held_minutes: float,
    keep_minutes: float,
    source: str,
    also: tuple[Input, ...] = (),
    settings: Mapping[str, tuple[Any, Any]] | None = None,
    **described: Any,
) -> PatientRule:
    """A rule on one channel of a treatment.

    Args:
        shape: the channel, its bands and what becomes of gaps and pauses.
        held_minutes: how long the channel must lie beyond a bound, as shipped.
        keep_minutes: how long the condition counts after it came back, as shipped.
        source: where these times come from.
        also: what the functions of the shape read beside the session.
        settings: further thresholds of a site, as pydantic fields.
        described: family, ids, title, sources and so on of the `Rule`.
    """
    side, unit = "above" if shape.above else "below", shape.unit[1]
    fields: dict[str, Any] = {
        band.name: (
            float,
            Field(default=band.bound, gt=0, description=f"{unit}: {band.priority} {side} this; {band.source}"),
        )
        for band in shape.bands
    }
    fields["held_minutes"] = (Minutes, Field(default=held_minutes, description=f"min beyond the bound; {source}"))
    fields["keep_minutes"] = (Minutes, Field(default=keep_minutes, description=f"min until it is over; {source}"))
    fields |= settings or {}
    title = "".join(part.capitalize() for part in shape.name.split("_"))
    doc = f"Bounds of `{shape.name}`."
    limits: type[SustainedLimits] = create_model(f"{title}Limits", __base__=SustainedLimits, __doc__=doc, **fields)
    names = tuple(band.name for band in shape.bands)
    limits.ascending = (names if shape.above else names[::-1],)
    shape = replace(shape, limits=limits)

    def find(view: PatientView) -> Iterator[Outcome]:
        return shape.find(view)

    find.__doc__ = (
        f"{shape.what} {side} a bound for {held_minutes:g} min; a sample is valid {LASTS_S // 60} min. One alert a\n"
        f"treatment, over {keep_minutes:g} min after the channel came back, or with the treatment."
    )
    return SustainedRule(
        name=shape.name,
        version=1,
        inputs=(SESSION, PAUSE, channel(shape.field), *also),
        limits=limits,
        find=find,
        lingers=True,
        shape=shape,
        **described,
    )


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
