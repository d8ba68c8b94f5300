"""The rates of each scenario. Probabilities are per dialysis session unless the text states otherwise."""

from dataclasses import dataclass, replace
from typing import Final

from models.analytes import Analyte
from streams.simulator.planned import Scenario


@dataclass(frozen=True, slots=True)
class Rates:
    """The figures of a scenario.

    Attributes:
        calm: Analytes that stay well inside their normal range; the others vary as in a real unit.
        pre_labs: Chance of a panel before the session.
        post_labs: Chance of a panel after it.
        watched_labs: Chance of a panel after it where one is expected: of an inpatient, or of two heart diseases.
        new_patient: Chance, per patient, that the first dialysis was less than a month ago.
        inpatient: Chance per patient.
        heart_disease: Chance per patient and condition.
        gain_mean: Mean weight gain between sessions, % of the target weight (about 4, clinical.md 2.7).
        gain_sd: Its standard deviation, % points.
        gain_max: Its greatest value, %.
        isolated_uf: Chance that the session is ultrafiltration alone.
        high_sodium: Chance that dialysate sodium is set to 140 mmol/L or more.
        cool: Chance of cool dialysate, 35.0 to 35.5 °C.
        hypertension: Chance per patient that the usual systolic pressure before is above 160 mmHg.
        hypotension: Chance of a systolic pressure below 90 mmHg (10 to 12 % of sessions, clinical.md 2.8).
        cramp: Chance of a cramp.
        minor_symptom: Chance of nausea, dizziness, weakness or shivering.
        jerk: Chance of jerks or twitches.
        alarm: Mean number of machine alarms.
        rhythm: Chance of an electrocardiogram.
        risky_drug: Chance per patient of baclofen, midodrine, vitamin E or aluminium with citrate.
        cancelled: Chance that a planned session is cancelled.
        correction: Chance per result of being corrected, cancelled or entered in error later.
        preliminary: Chance per result of being sent as preliminary first.
        haemolysed: Chance per potassium result.
        late: Chance per message of arriving 10 s to 10 min late.
        duplicate: Chance per message of arriving twice.
    """

    calm: frozenset[Analyte] = frozenset()
    pre_labs: float = 0.5
    post_labs: float = 0.35
    watched_labs: float = 0.85
    new_patient: float = 0.04
    inpatient: float = 0.1
    heart_disease: float = 0.25
    gain_mean: float = 3.7
    gain_sd: float = 1.3
    gain_max: float = 7.5
    isolated_uf: float = 0.02
    high_sodium: float = 0.08
    cool: float = 0.08
    hypertension: float = 0.2
    hypotension: float = 0.11
    cramp: float = 0.08
    minor_symptom: float = 0.12
    jerk: float = 0.01
    alarm: float = 0.8
    rhythm: float = 0.08
    risky_drug: float = 0.03
    cancelled: float = 0.02
    correction: float = 0.02
    preliminary: float = 0.15
    haemolysed: float = 0.03
    late: float = 0.003
    duplicate: float = 0.002


_NORMAL: Final = Rates()
_QUIET: Final = Rates(
    calm=frozenset(Analyte),
    new_patient=0,
    inpatient=0,
    heart_disease=0,
    gain_mean=2.2,
    gain_sd=0.4,
    gain_max=3.0,
    isolated_uf=0,
    high_sodium=0,
    cool=0,
    hypertension=0,
    hypotension=0,
    cramp=0,
    minor_symptom=0,
    jerk=0,
    alarm=0,
    rhythm=0,
    risky_drug=0,
    cancelled=0,
    correction=0,
    haemolysed=0,
    late=0,
)
#: The conditions that the script of `dense` plants do not also occur by chance, and a screen is not full before it.
_DENSE: Final = replace(
    _NORMAL,
    calm=frozenset({Analyte.MAGNESIUM, Analyte.ALUMINUM, Analyte.POTASSIUM, Analyte.IONIZED_CALCIUM}),
    new_patient=0,
    inpatient=0.04,
    heart_disease=0.05,
    gain_mean=3.0,
    gain_sd=0.7,
    high_sodium=0.04,
    cool=0.04,
    hypotension=0.06,
    cramp=0,
    minor_symptom=0.05,
    jerk=0,
    alarm=0.3,
)

RATES: Final = {
    Scenario.QUIET: _QUIET,
    Scenario.NORMAL: _NORMAL,
    Scenario.DENSE: _DENSE,
    Scenario.GARBAGE: _NORMAL,
    Scenario.CATALOGUE: _QUIET,
}
