"""The temperature of the dialysate: `dialysate_temperature` and `hypothermia_watch` (R36)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import Field

from models.alerts import BoundRecord, EvidenceRecord, Priority
from models.events import Modality, SymptomKind
from models.records import Symptom
from models.state import Bound
from models.state.channel import NEVER_S
from streams.rules.api import Finding, Limits, Lingering, Outcome, PatientRule, PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.facts.treatments import Treatment, treatment_at
from streams.rules.inputs import SESSION, channel, symptom
from streams.rules.shapes.sides import NOISE, SustainedBand
from streams.rules.shapes.sustained import SustainedShape, sustained
from streams.rules.thresholds import Minutes

_MEASURED: Final = "dialysate_temp_c"
_SETTING: Final = "dialysate_temp_setting_c"
_BODY: Final = "body_temp_c"
_CELSIUS: Final = "Cel"


def _has_dialysate(treatment: Treatment) -> bool:
    """Return whether a treatment has a fluid channel: isolated ultrafiltration has none (R38)."""
    return treatment.started is None or treatment.started.modality != Modality.IUF


# -- dialysate_temperature --------------------------------------------------------------------------------------------

_SOURCE: Final = "clinical.md R36, 2.10"
TEMPERATURE_RULE: Final[PatientRule] = sustained(
    SustainedShape(
        "dialysate_temperature",
        field=_MEASURED,
        unit=(_CELSIUS, "°C"),
        what="Dialysate temperature",
        above=True,
        bands=(
            SustainedBand("below_setting", Priority.MEDIUM, 0.5, "clinical.md R36", above=False, follows=True),
            SustainedBand("above_setting", Priority.MEDIUM, 0.5, "clinical.md R36", follows=True),
            SustainedBand("cold", Priority.MEDIUM, 34, _SOURCE, above=False),
            SustainedBand("warm", Priority.MEDIUM, 38, _SOURCE, closed=True),
            SustainedBand(
                "hot",
                Priority.HIGH,
                41,
                "clinical.md R36, 2.10; the time ours: one sample alone may be a sensor's",
                closed=True,
                held_minutes=0.5,
            ),
        ),
        advice=(
            guidance(
                "Check the temperature of the dialysate and its setting at the machine, and how the patient feels.",
                "clinical.md R36, 2.10",
            ),
            guidance(
                "The article wants 34-35 °C against cramps, not less; machines have a protective limit of about 42 °C. "
                "Review with technical staff, per unit protocol, a machine that does not follow its setting.",
                "article L28; clinical.md 2.10",
            ),
        ),
        follows=_SETTING,
        applies=_has_dialysate,
    ),
    held_minutes=3,
    keep_minutes=3,
    source="clinical.md R36",
    family="session",
    ids="R36",
    title="Dialysate too cold, too warm, or not as set",
    sources=("article L28", "clinical.md R36, 2.10"),
)

# -- hypothermia_watch ------------------------------------------------------------------------------------------------

_SHIVERING: Final = (SymptomKind.SHIVERING,)
_WATCH: Final = guidance(
    "Cool dialysate: check body temperature and comfort of the patient, per unit protocol.",
    "article L28; clinical.md R36",
)
_SYMPTOMATIC: Final = guidance(
    "Signs of hypothermia while the dialysate is cool: review the dialysate temperature with the prescriber. Check for "
    "fever, too: shivering with fever has other causes.",
    "article L28; clinical.md R36 (ours)",
)


class HypothermiaLimits(Limits):
    """What counts as cool, and what as hypothermia."""

    cool_c: float = Field(default=36.0, gt=0, description="°C: a dialysate is cool below this; R36")
    body_c: float = Field(default=36.0, gt=0, description="°C: body temperature, low below this; R36")
    held_minutes: Minutes = Field(default=3, description="min for which a measured dialysate must be cool; R36")
    keep_minutes: Minutes = Field(
        default=10, description="min for which a low body temperature counts after it rose (ours)"
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Since when a channel lies below a bound, and what the alert shows of it."""

    since: datetime
    evidence: EvidenceRecord


def find(view: PatientView) -> Iterator[Outcome]:
    """A dialysate set below 36 °C is info; with a body below 36.0 °C, or shivering in the treatment, it is low.

    A dialysate that is measured below 36 °C for 3 min is cool, too, whatever its setting, but says nothing alone. One
    alert a treatment, over with it, or when the dialysate is no longer cool. Readings hold until the next one.
    """
    running = bedside.running(view)
    if running is None or not _has_dialysate(running):
        return
    view.look_at(running.over_at + timedelta(microseconds=1))
    limits = view.limits(HypothermiaLimits)
    setting = _bound(view, running, _SETTING, limits.cool_c, (0, 0))
    set_cool = _reading(running, _SETTING, setting) if setting is not None and setting.is_out else None
    measured, until = _measured(view, running, limits)
    cool = set_cool or measured
    if cool is None:
        view.watch(running.session_id, _BODY, {})
        if until is not None:
            yield Lingering(running.key, until)
        return
    body = _body(view, running, limits)
    shivering = _shivering(view, running, cool.since)
    if body is not None or shivering:
        yield _symptomatic(view, running, cool, body, shivering)
    elif set_cool is not None:
        yield _watching(running, set_cool, limits)
    elif until is not None:
        yield Lingering(running.key, until)


def _bound(view: PatientView, running: Treatment, field: str, below: float, waits: tuple[int, int]) -> Bound | None:
    """Watch a channel at a bound below which it may lie; return what is known of that, None before a sample."""
    bound = Bound(below * (1 - NOISE), above=False, waits=waits)
    kept = running.session.channels.get(field)
    known = None if kept is None or kept.at == NEVER_S else kept.at_bound(f"{HYPOTHERMIA_RULE.name}:below", bound)
    if known is None or not known.is_out:
        bound.waits = waits[0], NEVER_S  # there is nothing that could end
    view.watch(running.session_id, field, {"below": bound})
    return None if known is None or known.since == NEVER_S else known


def _reading(running: Treatment, field: str, known: Bound) -> _Reading:
    since = datetime.fromtimestamp(known.since, UTC)
    evidence = EvidenceRecord(
        kind="telemetry", id=running.session_id, name=field, value=known.crossed, unit=_CELSIUS, at=since
    )
    return _Reading(since, evidence)


def _measured(
    view: PatientView, running: Treatment, limits: HypothermiaLimits
) -> tuple[_Reading | None, datetime | None]:
    """Return that the dialysate has been measured cool for long enough; else until when it still counts, if it did."""
    held_s = round(60 * limits.held_minutes)
    known = _bound(view, running, _MEASURED, limits.cool_c, (held_s, held_s))
    if known is None:
        return None, None
    moment = datetime.fromtimestamp(known.since + held_s, UTC)
    if not known.is_out:
        return None, moment if known.other != NEVER_S else None
    view.look_at(moment)
    return (_reading(running, _MEASURED, known) if view.now >= moment else None), None


def _body(view: PatientView, running: Treatment, limits: HypothermiaLimits) -> _Reading | None:
    """Return that the body temperature is low, or was so a short while ago: one that swings is one condition."""
    keep_s = round(60 * limits.keep_minutes)
    known = _bound(view, running, _BODY, limits.body_c, (0, keep_s))
    if known is None:
        return None
    if known.is_out:
        return _reading(running, _BODY, known)
    until = datetime.fromtimestamp(known.since + keep_s, UTC)
    if known.other == NEVER_S or view.now >= until:
        return None
    view.look_at(until)
    since = datetime.fromtimestamp(known.other, UTC)
    evidence = EvidenceRecord(
        kind="telemetry", id=running.session_id, name=_BODY, value=f"<{limits.body_c:g}", unit=_CELSIUS, at=since
    )
    return _Reading(since, evidence)


def _shivering(view: PatientView, running: Treatment, cool_since: datetime) -> list[Symptom]:
    """Return the shivering of the treatment that was not over when the dialysate became cool."""
    found = bedside.sessions(view)
    return [
        one
        for one in bedside.present(view, _SHIVERING)
        if treatment_at(found, one.at) is running
        and ((end := bedside.end_of(one)) is None or end >= cool_since)
        and one.at <= view.now
    ]


def _watching(running: Treatment, cool: _Reading, limits: HypothermiaLimits) -> Finding:
    return Finding(
        key=running.key,
        anchors=(f"session:{running.key}",),
        priority=Priority.INFO,
        onset_at=cool.since,
        known_at=cool.since,
        level_known_at=cool.since,
        summary=f"Dialysate set below {limits.cool_c:g} °C: hypothermia watch",
        guidance=(_WATCH,),
        evidence=(cool.evidence,),
        session_id=running.session_id,
        bound=BoundRecord(value=limits.cool_c, unit=_CELSIUS),
    )


def _symptomatic(
    view: PatientView, running: Treatment, cool: _Reading, body: _Reading | None, shivering: list[Symptom]
) -> Finding:
    limits = view.limits(HypothermiaLimits)
    signs = " and ".join(
        [f"body temperature below {limits.body_c:g} °C"] * (body is not None) + ["shivering"] * bool(shivering)
    )
    known = [bedside.known_at(view, one) for one in shivering] + ([body.since] if body is not None else [])
    return Finding(
        key=running.key,
        anchors=(f"session:{running.key}",),
        priority=Priority.LOW,
        onset_at=cool.since,
        known_at=max(known),
        level_known_at=min(known),
        summary=f"{signs[0].upper()}{signs[1:]} while the dialysate is cool, below {limits.cool_c:g} °C",
        guidance=(_SYMPTOMATIC, _WATCH),
        evidence=(
            cool.evidence,
            *((body.evidence,) if body is not None else ()),
            *map(bedside.symptom_evidence, shivering),
        ),
        session_id=running.session_id,
        bound=BoundRecord(value=limits.cool_c, unit=_CELSIUS),
    )


HYPOTHERMIA_RULE: Final = PatientRule(
    name="hypothermia_watch",
    version=1,
    family="session",
    ids="R36",
    title="Cool dialysate, and signs of hypothermia",
    inputs=(SESSION, symptom(*_SHIVERING), channel(_SETTING), channel(_MEASURED), channel(_BODY)),
    limits=HypothermiaLimits,
    find=find,
    lingers=True,
    sources=("article L28", "clinical.md R36"),
)
RULES: Final[tuple[PatientRule, ...]] = (TEMPERATURE_RULE, HYPOTHERMIA_RULE)
