"""`aluminum_level` (R21, R23, R26): the measured level in bands; the acute band latches until a person resolves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from models.alerts import GuidanceRecord, Priority
from models.analytes import NMOL_L, UG_L, UMOL_L, Analyte
from models.drugs import Drug
from models.records import Medication
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import labs, orders
from streams.rules.facts.responses import settled
from streams.rules.facts.suspicion import INPUTS, exclusions, present_suspicion, suspicion, suspicion_limits
from streams.rules.inputs import RESPONSE, drug, lab
from streams.rules.thresholds import Hours, Silences

NAME: Final = "aluminum_level"
_PRIORITIES: Final = (Priority.INFO, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
_NORMAL: Final = -1
_DRUGS: Final = drug(Drug.DEFEROXAMINE, Drug.CONTRAST)


class AluminumLevelLimits(Limits):
    """Lower bounds of the bands, each in every unit; a bound belongs to the band that begins there."""

    ascending = (("above_normal", "raised", "high", "encephalopathy", "acute"), ("high", "no_dfo"))

    above_normal: labs.AluminumBound = Field(
        default={UG_L: 10, UMOL_L: 0.371, NMOL_L: 371},
        description="info from here; article L10, normal below",
    )
    raised: labs.AluminumBound = Field(
        default={UG_L: 20, UMOL_L: 0.741, NMOL_L: 741}, description="low from here; KDOQI: find the source"
    )
    high: labs.AluminumBound = Field(
        default={UG_L: 60, UMOL_L: 2.224, NMOL_L: 2224}, description="medium from here; KDOQI: DFO test range"
    )
    encephalopathy: Annotated[labs.AluminumBound, Silences.RAISED] = Field(
        default={UG_L: 150, UMOL_L: 5.559, NMOL_L: 5559}, description="high from here; article L10"
    )
    no_dfo: labs.AluminumBound = Field(
        default={UG_L: 200, UMOL_L: 7.412, NMOL_L: 7412}, description="no deferoxamine above this; KDOQI"
    )
    acute: Annotated[labs.AluminumBound, Silences.RAISED] = Field(
        default={UG_L: 400, UMOL_L: 14.83, NMOL_L: 14830},
        description="acute toxicity from here; article L10, L63",
    )
    contrast_hours: Hours = Field(default=96, description="hours for which contrast disturbs a level; ARUP, Mayo, R26")

    def band(self, result: labs.Result) -> int:
        """Return the index of the highest band that the level certainly reaches; -1 is normal."""
        return sum(result.below(bound) is False for bound in self.bounds) - 1

    @property
    def bounds(self) -> tuple[labs.PerUnit, ...]:
        """Return the lower bound of each band."""
        return self.above_normal, self.raised, self.high, self.encephalopathy


def find(view: PatientView) -> Iterator[Outcome]:
    """The higher band of the newest two levels counts, so only two results below a band leave it.

    After a person's resolve the next level counts alone. From 400 ug/L, or from 150 with the clinical picture, the
    alert stays high until a person resolves it. An order of deferoxamine that stands above the level at which it is
    contraindicated makes the alert active again.
    """
    limits = view.limits(AluminumLevelLimits)
    levels = [level for level in labs.results(view, Analyte.ALUMINUM) if _counts(level, limits)]
    bands = [limits.band(level) for level in levels]
    over = settled(view, NAME, "level", labs.every_ref)
    held = _held(levels, bands, over)
    acute = _latched(view, levels, limits, over)
    start = _episode_start(held, [level in acute for level in levels])
    if start == len(levels):
        return
    run, held = levels[start:], held[start:]
    band = len(_PRIORITIES) - 1 if acute else held[-1]
    newest = run[-1]
    shown = {level.ref: level for level in (*acute, *run[-2:])}
    drugs = _Drugs.beside(view, newest, acute, limits)
    # An order of deferoxamine at such a level is news: who resolved or acknowledged the alert did not see it.
    ordered = [orders.step_known_at(view.read(_DRUGS), step) for step in drugs.chelation]
    level_known = min(level.known_at for level in acute) if acute else _since(run, held)
    summary = _summary(newest, limits, acute, held=band > limits.band(newest))
    yield Finding(
        key="level",
        anchors=tuple(level.ref for level in run if limits.band(level) > _NORMAL),
        priority=_PRIORITIES[band],
        onset_at=run[0].at,
        known_at=max([*(level.known_at for level in run), *ordered]),
        level_known_at=max([level_known, *ordered]),
        summary=f"{summary}; a deferoxamine order stands" if drugs.chelation else summary,
        guidance=_advice(view, newest, limits, acute, drugs, single=len(levels) == 1),
        evidence=(
            *(level.evidence() for level in sorted(shown.values(), key=lambda level: level.at)),
            *(orders.step_evidence(step) for step in (*drugs.chelation, *drugs.contrast)),
        ),
        bound=labs.bound_record(limits.bounds[band], newest),
    )


@dataclass(frozen=True, slots=True)
class _Drugs:
    """Medicines that matter beside a level.

    Attributes:
        contraindicated: no deferoxamine at this level.
        chelation: what orders deferoxamine all the same.
        contrast: the contrast that may have disturbed the level.
    """

    contraindicated: bool
    chelation: list[Medication]
    contrast: list[Medication]

    @classmethod
    def beside(
        cls, view: PatientView, newest: labs.Result, acute: list[labs.Result], limits: AluminumLevelLimits
    ) -> _Drugs:
        """Return the medicines beside the newest level and the acute one that is open."""
        contraindicated = any(level.below(limits.no_dfo) is False for level in (*acute[-1:], newest))
        standing = [order for order in orders.orders(view, Drug.DEFEROXAMINE) if order.stands]
        chelation = [order.regimens[-1].step for order in standing] if contraindicated else []
        return cls(contraindicated, chelation, _contrast_before(view, newest, limits))


def _contrast_before(view: PatientView, level: labs.Result, limits: AluminumLevelLimits) -> list[Medication]:
    """Return the newest contrast given within hours before a specimen; where no dose was told, its order."""
    earliest = level.at - timedelta(hours=limits.contrast_hours)
    found = [
        step
        for order in orders.orders(view, Drug.CONTRAST)
        if order.was_taken
        for step in order.given or [regimen.step for regimen in order.regimens]
        if earliest <= step.at <= level.at
    ]
    return sorted(found, key=lambda step: (step.at, orders.step_ref(step)))[-1:]


def doubts(view: PatientView, result: labs.Result) -> str | None:
    """Return why a readable level cannot be placed, or contradicts its own flags."""
    limits = view.limits(AluminumLevelLimits)
    if is_undecided(result, limits):
        return f"{result.shown()} leaves open whether it is raised"
    if labs.is_flagged(result, labs.CALLED_HIGH) and result.below(limits.above_normal) is True:
        return "the laboratory flags it critically high, the value is normal"
    return None


def is_undecided(result: labs.Result, limits: AluminumLevelLimits) -> bool:
    """Return whether a `<` result may hide a level that needs attention (a `>` result counts for what is certain)."""
    return result.below(limits.above_normal) is None and result.below(limits.raised) is None


def _counts(level: labs.Result, limits: AluminumLevelLimits) -> bool:
    """Return whether a level counts: a preliminary one from priority high on only, an undecidable one never."""
    if level.is_preliminary:
        return level.below(limits.encephalopathy) is False
    return not is_undecided(level, limits) or limits.band(level) > _NORMAL


def levels_from(view: PatientView, limits: AluminumLevelLimits, priority: Priority) -> list[labs.Result]:
    """Return the levels that reach the band of a priority, in the order of collection."""
    levels = labs.results(view, Analyte.ALUMINUM)
    lowest = _PRIORITIES.index(priority)
    return [level for level in levels if _counts(level, limits) and limits.band(level) >= lowest]


def _held(levels: list[labs.Result], bands: list[int], over: datetime | None) -> list[int]:
    """Return the band that counts with each level: the higher one of it and the level before, unless that is settled.

    A level that a person resolved says nothing of one that became known only after the answer.
    """
    held = list(bands)
    for number, (before, level) in enumerate(pairwise(levels), 1):
        if over is None or not before.known_at <= over < level.known_at:
            held[number] = max(bands[number - 1], bands[number])
    return held


def _latched(
    view: PatientView, levels: list[labs.Result], limits: AluminumLevelLimits, over: datetime | None
) -> list[labs.Result]:
    """Return the levels of the acute band that nobody has resolved."""
    acute = [level for level in levels if level.below(limits.acute) is False]
    acute += _with_picture(view, [level for level in levels if level not in acute], limits)
    if not acute:
        return []
    acute.sort(key=lambda level: level.order)
    return [level for level in acute if over is None or level.known_at > over]


def _with_picture(view: PatientView, levels: list[labs.Result], limits: AluminumLevelLimits) -> list[labs.Result]:
    """Return the levels from the encephalopathy range on that came with the clinical picture.

    A later low level must not undo the latch, so only what excluded the picture before a level counts.
    """
    high = [level for level in levels if level.below(limits.encephalopathy) is False]
    if not high:
        return []
    picture = suspicion_limits(view)
    excluded = exclusions(view, picture)
    before = [max((moment for moment in excluded if moment < level.at), default=None) for level in high]
    fits = {moment: suspicion(view, picture, moment) is not None for moment in set(before)}
    return [level for level, moment in zip(high, before, strict=True) if fits[moment]]


def _episode_start(held: list[int], latched: list[bool]) -> int:
    """Return the index of the first level of the running episode; the number of levels if none runs."""
    start = len(held)
    while start and held[start - 1] > _NORMAL:
        start -= 1
    return min(start, latched.index(True)) if True in latched else start


def _since(run: list[labs.Result], held: list[int]) -> datetime:
    """Return when the present band became known: with the first of the newest levels in a row that reach it."""
    first = len(run) - 1
    while first and held[first - 1] >= held[-1]:
        first -= 1
    return run[first].known_at


def _summary(newest: labs.Result, limits: AluminumLevelLimits, acute: list[labs.Result], *, held: bool) -> str:
    words = {_NORMAL: "normal", 0: "above normal", 1: "raised", 2: "high", 3: "in the encephalopathy range"}
    toxic = newest.below(limits.acute) is False
    text = f"Aluminium {newest.shown()}, {'in the range of acute toxicity' if toxic else words[limits.band(newest)]}"
    if newest.is_preliminary:
        text += ", preliminary"
    if acute and newest in acute:
        return text + ": review now"
    if acute:
        return text + f"; was {acute[-1].shown()}, open until a person resolves it"
    return text + ("; one more result below the band closes it" if held else "")


_SOURCE = guidance(
    "Search for sources, and review their removal per unit protocol: dialysis water, aluminium-containing drugs, "
    "citrate taken with them.",
    "article L10; KDOQI 20-60 ug/L",
)
_DFO_TEST = guidance(
    "A deferoxamine test is considered at 60-200 ug/L or with symptoms; above 200 ug/L it is not to be used.",
    "KDOQI guideline 13",
)
_NO_DFO = guidance(
    "No deferoxamine above 200 ug/L: it is contraindicated there; intensive high-flux dialysis with dialysate "
    "aluminium below 5 ug/L comes first.",
    "KDOQI guideline 13 (the article is cut off at L63)",
)
_DFO_ORDERED = guidance(
    "An order for deferoxamine stands at this level: review it with the prescriber now.",
    "KDOQI guideline 13 (the article is cut off at L63)",
)
_EMERGENCY = guidance(
    "The article calls acute aluminium neurotoxicity a medical emergency: involve the specialist now, per unit "
    "protocol. This alert stays until a person resolves it.",
    "article L63; KDOQI",
)
_REPEAT = guidance(
    "A single level without symptoms: consider contamination and a repeat in a trace-element tube; gadolinium or "
    "iodine contrast within 96 h interferes.",
    "ARUP and Mayo test notes (R26)",
)


def _disturbed(contrast: list[Medication], level: labs.Result, limits: AluminumLevelLimits) -> GuidanceRecord | None:
    """Return the note that contrast may have disturbed a level."""
    if not contrast:
        return None
    (step,) = contrast
    hours = (level.at - step.at) / timedelta(hours=1)
    return guidance(
        f"{step.drug} was {step.action} {hours:.0f} h before this level, and contrast disturbs the measurement: "
        f"consider a repeat once {limits.contrast_hours:g} h have passed.",
        "ARUP and Mayo test notes (R26)",
    )


def _advice(
    view: PatientView,
    newest: labs.Result,
    limits: AluminumLevelLimits,
    acute: list[labs.Result],
    drugs: _Drugs,
    *,
    single: bool,
) -> tuple[GuidanceRecord, ...]:
    picture = suspicion_limits(view)
    suspected = present_suspicion(view, picture) is not None
    testable = newest.below(limits.high) is False and not drugs.contraindicated
    return tuple_of(
        _EMERGENCY if acute else None,
        _DFO_ORDERED if drugs.chelation else None,
        _NO_DFO if drugs.contraindicated else None,
        _DFO_TEST if testable else None,
        _SOURCE,
        _REPEAT if single and not suspected else None,
        _disturbed(drugs.contrast, newest, limits),
    )


RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="aluminum",
    ids="R21 R23 R26",
    title="Plasma aluminium above normal",
    inputs=(*INPUTS, RESPONSE, _DRUGS),
    needs=(lab(Analyte.ALUMINUM),),
    limits=AluminumLevelLimits,
    find=find,
    named_by=labs.every_ref,
    doubts=doubts,
    sources=("article L10, L63", "KDOQI guidelines 12 and 13", "ARUP, Mayo test notes"),
)
