"""A laboratory value in bands: the newest usable result decides, and each unit has bounds of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, create_model

from models.alerts import EvidenceRecord, GuidanceRecord, Priority
from models.analytes import Analyte
from models.state import PatientState
from streams.rules.api import Finding, Limits, Outcome, PatientView, Rule
from streams.rules.facts import labs
from streams.rules.inputs import Input, lab
from streams.rules.thresholds import Silences, UnitsOf


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a value.

    Attributes:
        name: the name of its bound among a site's settings.
        priority: that of an alert while the newest value lies in it.
        bounds: its bound in every unit of the analyte.
        source: where the bound comes from.
        words: how a summary calls such a value.
        critical: a preliminary result counts, and a site that moves the bound out accepts a risk.
        closed: the bound itself belongs to the band.
    """

    name: str
    priority: Priority
    bounds: labs.PerUnit
    source: str
    words: str
    critical: bool = False
    closed: bool = False


@dataclass(frozen=True)
class BandRule(Rule[PatientState]):
    """A rule of this shape, with what it was made of."""

    analyte: Analyte = Analyte.MAGNESIUM
    above: bool = True
    bands: tuple[Band, ...] = ()


Advice = Callable[[PatientView, labs.Result], tuple[GuidanceRecord, ...]]
#: The priority of a result from that of its band, by what else is known of it; None where it counts as none.
Adjust = Callable[[PatientView, labs.Result, Priority], Priority | None]


@dataclass(frozen=True, slots=True)
class Context:
    """What else is known of a result.

    Attributes:
        marks: words that the summary adds.
        evidence: inputs that the alert shows beside the result.
        raised_at: when it became known that the result counts one level higher; None if it does not.
    """

    marks: tuple[str, ...] = ()
    evidence: tuple[EvidenceRecord, ...] = ()
    raised_at: datetime | None = None


_NO_CONTEXT: Final = Context()
_ABOVE: Final = {Priority.INFO: Priority.LOW, Priority.LOW: Priority.MEDIUM, Priority.MEDIUM: Priority.HIGH}


def _nothing_else(_view: PatientView, _result: labs.Result) -> Context:
    return _NO_CONTEXT


def _unchanged(_view: PatientView, _result: labs.Result, priority: Priority) -> Priority | None:
    return priority


def lab_bands(
    name: str,
    analyte: Analyte,
    *,
    above: bool,
    bands: tuple[Band, ...],
    advice: Advice,
    adjust: Adjust = _unchanged,
    context: Callable[[PatientView, labs.Result], Context] = _nothing_else,
    notes: str = "",
    also: tuple[Input, ...] = (),
    **described: Any,
) -> BandRule:
    """A rule that follows the newest usable result of an analyte through bands, the mildest first.

    Args:
        name: the contract's name of the rule.
        analyte: what is measured.
        above: whether the bands lie above their bounds, or below.
        bands: from the mildest to the most severe.
        advice: what to review.
        adjust: lowers or raises the priority of a result, by what else is known of it.
        context: what else is known of a result, after `adjust`.
        notes: what `adjust` and `context` do, as sentences for the published document.
        also: what `advice`, `adjust` and `context` read besides the analyte.
        described: family, ids, title, sources and so on of the `Rule`.
    """
    shape = _Bands(analyte, above, bands, advice, adjust, context, _limits(name, analyte, above=above, bands=bands))
    side = "above" if above else "below"

    def find(view: PatientView) -> Iterator[Outcome]:
        return shape.find(view)

    find.__doc__ = (
        f"The newest usable {analyte.words} is {side} the bound of its unit; a preliminary one counts in the\n"
        "critical band only. A result on the other side of every bound ends it."
        f"{notes and chr(10)}{notes}"
    )
    return BandRule(
        analyte=analyte,
        above=above,
        bands=bands,
        name=name,
        version=1,
        inputs=(lab(analyte), *also),
        needs=(lab(analyte),),
        limits=shape.limits,
        find=find,
        named_by=labs.refs_of(analyte),
        doubts=shape.doubts,
        **described,
    )


def _limits(name: str, analyte: Analyte, *, above: bool, bands: tuple[Band, ...]) -> type[Limits]:
    """The thresholds of the rule as a site may set them."""
    fields: Any = {}
    for band in bands:
        marks: list[Any] = [UnitsOf(analyte)]
        if band.critical:
            marks.append(Silences.RAISED if above else Silences.LOWERED)
        side = ("from" if above else "to") if band.closed else ("above" if above else "below")
        text = f"{band.priority} {side} this; {band.source}"
        fields[band.name] = (Annotated[labs.PerUnit, *marks], Field(default=band.bounds, description=text))
    names = tuple(band.name for band in bands)
    title = "".join(part.capitalize() for part in name.split("_"))
    made: type[Limits] = create_model(f"{title}Limits", __base__=Limits, __doc__=f"Bounds of `{name}`.", **fields)
    made.ascending = (names if above else names[::-1],)
    return made


@dataclass(frozen=True, slots=True)
class _Reached:
    """A result, its band, its priority, and when that became known."""

    result: labs.Result
    band: int
    priority: Priority
    known_at: datetime
    context: Context


def _reached(result: labs.Result, band: int, priority: Priority, context: Context) -> _Reached:
    if context.raised_at is None:
        return _Reached(result, band, priority, result.known_at, context)
    known_at = max(result.known_at, context.raised_at)
    return _Reached(result, band, _ABOVE.get(priority, priority), known_at, context)


@dataclass(frozen=True, slots=True)
class _Bands:
    analyte: Analyte
    above: bool
    bands: tuple[Band, ...]
    advice: Advice
    adjust: Adjust
    context: Callable[[PatientView, labs.Result], Context]
    limits: type[Limits]

    def find(self, view: PatientView) -> Iterator[Outcome]:
        """The band of the newest usable result, and since when results in a row lie in a band."""
        limits = view.limits(self.limits)
        run: list[_Reached] = []
        for result in labs.newest_first(view, self.analyte):
            band = self._band(result, limits)
            if band is None or (result.is_preliminary and not (band >= 0 and self.bands[band].critical)):
                continue
            priority = self.adjust(view, result, self.bands[band].priority) if band >= 0 else None
            if priority is None:
                break
            run.append(_reached(result, band, priority, self.context(view, result)))
        if not run:
            return
        newest = run[0]
        milder = (number for number, one in enumerate(run) if one.priority.rank < newest.priority.rank)
        yield Finding(
            key=str(self.analyte),
            anchors=tuple(one.result.ref for one in reversed(run)),
            priority=newest.priority,
            onset_at=run[-1].result.at,
            known_at=newest.known_at,
            level_known_at=min(one.known_at for one in run[: next(milder, len(run))]),
            summary=self._summary(newest, limits),
            guidance=self.advice(view, newest.result),
            evidence=(newest.result.evidence(), *newest.context.evidence),
            bound=labs.bound_record(getattr(limits, self.bands[newest.band].name), newest.result),
        )

    def doubts(self, view: PatientView, result: labs.Result) -> str | None:
        """Why a readable result cannot be placed, or contradicts its own flags."""
        band = self._band(result, view.limits(self.limits))
        if band is None:
            return f"{result.shown()} leaves open on which side of the limit it lies"
        if band < 0 and labs.is_flagged(result, labs.CALLED_HIGH if self.above else labs.CALLED_LOW):
            side = "high" if self.above else "low"
            return f"the laboratory flags it critically {side}, the value is not {side}"
        return None

    def _band(self, result: labs.Result, limits: Limits) -> int | None:
        """Index of the worst band that the value certainly reaches; -1 for none, None where that is open."""
        found: int | None = -1
        for number, band in enumerate(self.bands):
            reached = self._reaches(result, band, getattr(limits, band.name))
            if reached:
                found = number
            elif reached is None and found == -1:
                found = None
        return found

    def _reaches(self, result: labs.Result, band: Band, bound: labs.PerUnit) -> bool | None:
        if self.above:
            return result.at_least(bound) if band.closed else result.above(bound)
        return result.at_most(bound) if band.closed else result.below(bound)

    def _summary(self, reached: _Reached, limits: Limits) -> str:
        newest, band = reached.result, self.bands[reached.band]
        bound = labs.shown_bound(getattr(limits, band.name), newest)
        closed = f"{bound} or {'more' if self.above else 'less'}"
        where = closed if band.closed else f"{'above' if self.above else 'below'} {bound}"
        marks = [
            word
            for word, applies in (("preliminary", newest.is_preliminary), ("haemolysed", newest.record.haemolysed))
            if applies
        ]
        return ", ".join(
            [
                f"{self.analyte.words.capitalize()} {newest.shown()}",
                f"{band.words} ({where})",
                *marks,
                *reached.context.marks,
            ]
        )
