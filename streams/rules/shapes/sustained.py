"""A channel of a machine's samples that lies beyond a bound for a while: one alert a treatment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any

from pydantic import Field, create_model

from models.alerts import BoundRecord, EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.state import Bound, Channel, PatientState
from models.state.channel import LASTS_S, NEVER_S
from streams.rules.api import Ending, Finding, Limits, Lingering, Outcome, PatientRule, PatientView, Rule, Unchanged
from streams.rules.facts import bedside
from streams.rules.facts.treatments import Treatment, is_still
from streams.rules.inputs import PAUSE, SESSION, Input, channel
from streams.rules.shapes.sides import Setting, SustainedBand, setting_of
from streams.rules.thresholds import Minutes, Silences

#: An ended treatment ends its alert for so long after.


class SustainedLimits(Limits):
    """The times of a rule of this shape; its bands are added to them."""

    held_minutes: Minutes = 5
    keep_minutes: Minutes = 5


class Policy(Enum):
    """What becomes of a condition while nothing is known of it."""

    ENDS = "ends"
    HOLDS = "holds"


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


@dataclass(frozen=True, slots=True)
class _Beyond:
    """The bounds beyond which a channel lies, since when on its side of each bound, and what the bounds refer to."""

    bounds: dict[str, Bound]
    since: dict[str, datetime]
    scale: Scale | None
    setting: Setting | None


Bounds = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SustainedShape:
    """A channel, its bands, and how a rule on them decides.

    Attributes:
        name: the contract's name of the rule.
        field: the channel, as the field of a sample is called.
        unit: of the channel, and of the bounds.
        what: begins the summary, such as "Ultrafiltration rate".
        above: whether it is beyond a bound above it, not below, where a band does not say it itself.
        bands: the mildest first; of two sides, those of the least priority first.
        advice: what to review.
        gap: what becomes of the condition after `LASTS_S` without a sample.
        paused: what becomes of it while blood stands.
        scale: the unit of the rule; None where it is unknown, and nothing is found. Without it, that of the channel.
        bounds: the bounds in force of a treatment, where they depend on more than the settings.
        standing: a condition that needs no sample.
        follows: the channel of the setting that the channel should follow, for bands about it.
        applies: whether a treatment has the channel at all.
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
    follows: str | None = None
    applies: Callable[[Treatment], bool] | None = None
    limits: type[SustainedLimits] = SustainedLimits

    def find(self, view: PatientView) -> Iterator[Outcome]:
        """The channel of the running treatment, watched at the bounds in force."""
        state = view.read(SESSION, PAUSE)
        assert isinstance(state, PatientState)  # noqa: S101 (for the type checker)
        running = bedside.running(view)
        for ended in bedside.just_ended(view):
            yield Ending(ended.key, Status.RESOLVED, Reason.CONDITION_CLEARED)
        if running is None or (self.applies is not None and not self.applies(running)):
            return
        view.look_at(running.over_at + timedelta(microseconds=1))
        scale = self.scale(view, running) if self.scale else None
        if self.scale is not None and scale is None:
            view.watch(running.session_id, self.field, {})
            return
        setting = self._setting(view, running)
        bounds = self._bounds(view, running, scale, setting)
        standing = self.standing(view, running, scale) if self.standing else None
        kept = self._channel(running)
        known = {} if kept is None else {name: kept.at_bound(f"{self.name}:{name}", b) for name, b in bounds.items()}
        is_kept = running.key in state.held.get(self.name, ())
        if not is_kept and not any(bound.is_out for bound in known.values()):
            _wait_for_no_end(bounds)
        view.watch(running.session_id, self.field, bounds)
        since = self._since(known, setting)
        unknown_since = None if kept is None else self._unknown_since(view, running, kept)
        out = {name: bound for name, bound in known.items() if bound.is_out and unknown_since is None}
        finding: Finding | None = None
        if out:
            finding = self._finding(view, running, _Beyond(out, since, scale, setting), standing)
        elif standing is not None:
            finding = self._of_standing(running, standing)
        if finding is not None:
            may_have_left = is_kept and unknown_since is None
            has_left = may_have_left and self._has_just_left(view, known, since, finding)
            yield Unchanged(running.key) if has_left else finding
        elif (inside_since := unknown_since or max(since.values(), default=None)) is not None:
            keep_for = timedelta(minutes=view.limits(self.limits).keep_minutes)
            yield Lingering(running.key, inside_since + keep_for, unmet_at=inside_since)

    def _has_just_left(
        self, view: PatientView, known: dict[str, Bound], since: dict[str, datetime], finding: Finding
    ) -> bool:
        """Return whether the channel left a band of a higher priority so lately that it counts a little longer."""
        if finding.counts_from is not None and finding.counts_from > view.now:
            return False
        keep_for = timedelta(minutes=view.limits(self.limits).keep_minutes)
        higher = {band.name for band in self.bands if band.priority.rank > finding.priority.rank} & since.keys()
        left = [name for name in higher if not known[name].is_out and known[name].other != NEVER_S]
        counts_until = [since[name] + keep_for for name in left if since[name] + keep_for > view.now]
        for until in counts_until:
            view.look_at(until)
        return bool(counts_until)

    def _channel(self, running: Treatment) -> Channel | None:
        """Return the channel of a treatment; None before its first sample."""
        kept = running.session.channels.get(self.field)
        return None if kept is None or kept.at == NEVER_S else kept

    def _setting(self, view: PatientView, running: Treatment) -> Setting | None:
        """Return the setting that the channel should follow, and watch it."""
        if self.follows is None:
            return None
        return setting_of(view, self.name, running, self.follows, self.unit[0])

    def _since(self, known: dict[str, Bound], setting: Setting | None) -> dict[str, datetime]:
        """Return since when the channel lies on its side of each bound, as far as samples tell.

        A bound that moved with the setting is one since then: machines need a while to follow it.
        """
        following = {band.name for band in self.bands if band.follows}
        moved = setting.since if setting is not None else None
        return {
            name: max(_moment(bound.since), moved) if moved and name in following else _moment(bound.since)
            for name, bound in known.items()
            if bound.since != NEVER_S
        }

    def is_above(self, band: SustainedBand) -> bool:
        """Return whether a band lies above its bound."""
        return self.above if band.above is None else band.above

    def _bounds(
        self, view: PatientView, running: Treatment, scale: Scale | None, setting: Setting | None
    ) -> dict[str, Bound]:
        limits = view.limits(self.limits)
        moved = {} if self.bounds is None else self.bounds(view, running, scale)
        factor, keep_s = (scale.factor if scale else 1.0), round(60 * limits.keep_minutes)
        made: dict[str, Bound] = {}
        for band in self.bands:
            bound, above = moved.get(band.name, getattr(limits, band.name)), self.is_above(band)
            if band.follows:
                if setting is None:
                    continue
                bound = setting.value + (bound if above else -bound)
            waits = round(60 * getattr(limits, band.held_name)), keep_s
            made[band.name] = Bound(band.shifted(bound * factor, above=above), above, waits)
        return made

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

    def _finding(self, view: PatientView, running: Treatment, beyond: _Beyond, standing: Standing | None) -> Finding:
        limits, since, scale = view.limits(self.limits), beyond.since, beyond.scale
        reached = {
            band.name: since[band.name] + timedelta(minutes=getattr(limits, band.held_name))
            for band in self.bands
            if band.name in beyond.bounds
        }
        held = [band for band in self.bands if band.name in reached and view.now >= reached[band.name]]
        for moment in reached.values():
            view.look_at(moment)
        if not held and standing is not None:
            return self._of_standing(running, standing)
        band = held[-1] if held else next(band for band in self.bands if band.name in reached)
        onset = min(since[name] for name in reached)
        priority = band.priority
        if standing is not None and standing.priority.rank > priority.rank:
            priority = standing.priority
        reading = EvidenceRecord(
            kind="telemetry",
            id=running.session_id,
            name=self.field,
            value=beyond.bounds[band.name].crossed,
            unit=self.unit[0],
            at=since[band.name],
        )
        known_at, unmet = since[band.name], min(bound.other for bound in beyond.bounds.values())
        if scale is not None and scale.known_at is not None:
            known_at = max(known_at, scale.known_at)
        set_to = (beyond.setting.evidence,) if band.follows and beyond.setting is not None else ()
        return Finding(
            key=running.key,
            anchors=(f"session:{running.key}",),
            priority=priority,
            onset_at=onset if standing is None else min(onset, standing.since),
            known_at=known_at,
            level_known_at=known_at,
            summary=f"{self.what} {self._where(band, beyond)} for {getattr(limits, band.held_name):g} min",
            guidance=self.advice,
            evidence=(
                reading,
                *set_to,
                *((scale.evidence,) if scale else ()),
                *(standing.evidence if standing else ()),
            ),
            session_id=running.session_id,
            counts_from=min(reached.values()) if standing is None else None,
            unmet_at=None if unmet == NEVER_S else _moment(unmet),
            bound=BoundRecord(value=float(f"{beyond.bounds[band.name].value:.4g}"), unit=self.unit[0]),
        )

    def _where(self, band: SustainedBand, beyond: _Beyond) -> str:
        """Return where the channel lies, as the summary says it."""
        above, unit = self.is_above(band), self.unit[1]
        limit = beyond.bounds[band.name].value / (beyond.scale.factor if beyond.scale else 1.0)
        side = "above" if above else "below"
        if band.follows and beyond.setting is not None:
            away = abs(limit - beyond.setting.value)
            return f"more than {away:.3g} {unit} {side} its setting of {beyond.setting.value:.4g} {unit}"
        if band.closed:
            return f"{limit:.4g} {unit} or {'more' if above else 'less'}"
        return f"{side} {limit:.4g} {unit}"

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


def _wait_for_no_end(bounds: dict[str, Bound]) -> None:
    """Ask for no look when a channel comes back: there is nothing that could end."""
    for bound in bounds.values():
        bound.waits = bound.waits[0], NEVER_S


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
    fields: dict[str, Any] = {}
    for band in shape.bands:
        fields |= _thresholds(shape, band)
    fields["held_minutes"] = (Minutes, Field(default=held_minutes, description=f"min beyond the bound; {source}"))
    fields["keep_minutes"] = (Minutes, Field(default=keep_minutes, description=f"min until it is over; {source}"))
    fields |= settings or {}
    title = "".join(part.capitalize() for part in shape.name.split("_"))
    doc = f"Bounds of `{shape.name}`."
    limits: type[SustainedLimits] = create_model(f"{title}Limits", __base__=SustainedLimits, __doc__=doc, **fields)
    fixed = [band for band in shape.bands if not band.follows]
    below = [band.name for band in reversed(fixed) if not shape.is_above(band)]
    limits.ascending = ((*below, *(band.name for band in fixed if shape.is_above(band))),)
    shape = replace(shape, limits=limits)
    sides = {shape.is_above(band) for band in shape.bands}
    side = "beyond" if len(sides) > 1 else "above" if shape.above else "below"
    setting = () if shape.follows is None else (channel(shape.follows),)

    def find(view: PatientView) -> Iterator[Outcome]:
        return shape.find(view)

    find.__doc__ = (
        f"{shape.what} {side} a bound for {held_minutes:g} min; a sample is valid {LASTS_S // 60} min. One alert a\n"
        f"treatment, over {keep_minutes:g} min after the channel came back, or with the treatment."
    )
    return SustainedRule(
        name=shape.name,
        version=1,
        inputs=(SESSION, PAUSE, channel(shape.field), *setting, *also),
        limits=limits,
        find=find,
        lingers=True,
        shape=shape,
        **described,
    )


def _thresholds(shape: SustainedShape, band: SustainedBand) -> dict[str, tuple[Any, Any]]:
    """Return the thresholds of a band as pydantic fields: its bound, and its own time if it has one."""
    above = shape.is_above(band)
    side = ("from" if above else "to") if band.closed else ("above" if above else "below")
    words = f"{side} the setting by more than this" if band.follows else f"{side} this"
    bound: Any = float
    if band.priority is Priority.HIGH:
        bound = Annotated[float, Silences.RAISED if above or band.follows else Silences.LOWERED]
    text = f"{shape.unit[1]}: {band.priority} {words}; {band.source}"
    fields: dict[str, tuple[Any, Any]] = {band.name: (bound, Field(default=band.bound, gt=0, description=text))}
    if band.held_minutes is not None:
        time: Any = Annotated[Minutes, Silences.RAISED] if band.priority is Priority.HIGH else Minutes
        field = Field(default=band.held_minutes, description=f"min beyond `{band.name}`; {band.source}")
        fields[band.held_name] = (time, field)
    return fields


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
