"""`symptom_workup_incomplete` (R05): signs of an electrolyte disorder ask for the panel that explains them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Final

from models.alerts import Priority
from models.analytes import Analyte
from models.events import SymptomKind
from streams.rules.api import PatientView, guidance
from streams.rules.facts import bedside
from streams.rules.inputs import symptom
from streams.rules.shapes.expected import ExpectedShape, Since, Step, expected_results

K = SymptomKind
_SIGNS: Final = (K.JERK, K.SPASM, K.CRAMP, K.TWITCH, K.MYOCLONUS)


def _signs(view: PatientView) -> Iterator[Since]:
    for sign in bedside.present(view, _SIGNS):
        known, evidence = partial(bedside.known_at, view, sign), partial(bedside.symptom_evidence, sign)
        yield Since(bedside.symptom_ref(sign), sign.at, known, evidence)


_SHAPE: Final = ExpectedShape(
    name="symptom_workup_incomplete",
    since=_signs,
    wants=(Analyte.MAGNESIUM, Analyte.IONIZED_CALCIUM, Analyte.POTASSIUM, Analyte.PHOSPHATE),
    before=timedelta(hours=2),
    steps=(Step("result_hours", 2, Priority.LOW, "clinical.md R05: results within 120 min"),),
    forgotten=Step("forgotten_hours", 24, Priority.LOW, "nobody waits any more (ours)"),
    what="Work-up of a cramp, spasm, jerk or twitch",
    advice=(
        guidance(
            "Review whether magnesium, ionised calcium, potassium and phosphate were drawn and sent.",
            "article L3-L8; clinical.md R05",
        ),
    ),
)

RULE: Final = expected_results(
    _SHAPE,
    also=(symptom(*_SIGNS),),
    needs=(symptom(*_SIGNS),),
    family="cramp",
    ids="R05",
    title="Signs of an electrolyte disorder without the panel that explains them",
    named_by=bedside.every_symptom,
    sources=("article L3-L8", "clinical.md R05"),
    without=("an order for the panel, so only the time of the results is watched",),
)
