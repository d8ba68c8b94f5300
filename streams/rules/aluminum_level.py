"""`aluminum_level` (R21, R23, R26): the measured level in bands; the acute band latches until a person resolves it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from models.alerts import GuidanceRecord, Priority
from models.analytes import NMOL_L, UG_L, UMOL_L, Analyte
from streams.rules.api import Finding, Limits, Outcome, PatientRule, PatientView, guidance, tuple_of
from streams.rules.facts import labs
from streams.rules.facts.responses import settled
from streams.rules.facts.suspicion import INPUTS, exclusions, present_suspicion, suspicion, suspicion_limits
from streams.rules.inputs import RESPONSE, lab
from streams.rules.thresholds import Silences

NAME: Final = "aluminum_level"
_PRIORITIES: Final = (Priority.INFO, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
_NORMAL: Final = -1


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

    def band(self, result: labs.Result) -> int:
        """Return the index of the highest band that the level certainly reaches; -1 is normal."""
        bounds = (self.above_normal, self.raised, self.high, self.encephalopathy)
        return sum(result.below(bound) is False for bound in bounds) - 1


def find(view: PatientView) -> Iterator[Outcome]:
    """The higher band of the newest two levels counts, so only two results below a band leave it.

    After a person's resolve the next level counts alone. From 400 ug/L, or from 150 with the clinical picture, the
    alert stays high until a person resolves it.
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
    yield Finding(
        key="level",
        anchors=tuple(level.ref for level in run if limits.band(level) > _NORMAL),
        priority=_PRIORITIES[band],
        onset_at=run[0].at,
        known_at=max(level.known_at for level in run),
        level_known_at=min(level.known_at for level in acute) if acute else _since(run, held),
        summary=_summary(newest, limits, acute, held=band > limits.band(newest)),
        guidance=_advice(view, newest, limits, acute, single=len(levels) == 1),
        evidence=tuple(level.evidence() for level in sorted(shown.values(), key=lambda level: level.at)),
    )


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
    "Search for and remove sources: dialysis water, aluminium-containing drugs, citrate taken with them.",
    "article L10; KDOQI 20-60 ug/L",
)
_DFO_TEST = guidance("A deferoxamine test is considered at 60-200 ug/L or with symptoms.", "KDOQI guideline 13")
_NO_DFO = guidance(
    "No deferoxamine above 200 ug/L: it is contraindicated there; intensive high-flux dialysis with dialysate "
    "aluminium below 5 ug/L comes first.",
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


def _advice(
    view: PatientView,
    newest: labs.Result,
    limits: AluminumLevelLimits,
    acute: list[labs.Result],
    *,
    single: bool,
) -> tuple[GuidanceRecord, ...]:
    picture = suspicion_limits(view)
    suspected = present_suspicion(view, picture) is not None
    worst = acute[-1] if acute else newest
    contraindicated = any(level.below(limits.no_dfo) is False for level in (worst, newest))
    testable = newest.below(limits.high) is False and not contraindicated
    return tuple_of(
        _EMERGENCY if acute else None,
        _NO_DFO if contraindicated else None,
        _DFO_TEST if testable else None,
        _SOURCE,
        _REPEAT if single and not suspected else None,
    )


RULE: Final = PatientRule(
    name=NAME,
    version=1,
    family="aluminum",
    ids="R21 R23 R26",
    title="Plasma aluminium above normal",
    inputs=(*INPUTS, RESPONSE),
    needs=(lab(Analyte.ALUMINUM),),
    limits=AluminumLevelLimits,
    find=find,
    named_by=labs.every_ref,
    doubts=doubts,
    sources=("article L10, L63", "KDOQI guidelines 12 and 13", "ARUP, Mayo test notes"),
)
