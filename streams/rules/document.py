"""Writes docs/rules.md from the catalogue: `python -m streams.rules.document`. A test compares the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from streams.rules.api import Rule
from streams.rules.catalogue import ALL_RULES, ResponseLimits
from streams.rules.inputs import shown
from streams.rules.settings_checks import marked
from streams.rules.thresholds import Silences

PATH: Final = Path(__file__).parents[2] / "docs" / "rules.md"

_HEAD: Final = """\
# Rules

What each rule watches, its thresholds with their sources, and which inputs it lacks. `python -m streams.rules.document`
writes this file from the catalogue; `dialysis-alerts rules` prints the thresholds in force at a site.

A site changes thresholds, or turns a rule off, in a TOML file that `DIALYSIS_RULES` names:

```toml
[intradialytic_cramp]
silence_minutes = 20            # a threshold

[aluminum_result_overdue]
enabled = false                 # a rule

[low_magnesium]
qtc_ms = 500                    # fewer findings are high: who accepts that, and why
accept_risk = "Dr Roe, 2026-11-01: our cardiologists act from 500 ms"
```

A setting that makes fewer findings high than the shipped one (a rule with a critical band turned off, or a threshold
marked **critical** below moved the way that is named there) is refused unless its table has `accept_risk = "who and
why"`. `rules`, `dialysis_accepted_risks` and a `data_quality` alert of each patient concerned show the accepted risk.

`dialysis-alerts rules check FILE` checks such a file; `replay EVENTS --compare FILE` shows what it would change.

## Choices where the sources leave one

- **QTc** (R01): "long" is above 480 ms within 24 h. Below that machine QTc is unreliable in dialysis (clinical.md 2.9),
  and half of all patients have 450 ms.
- **A symptom's messages** (R30) merge field by field, the greater value of a field stands: an end, a score or an
  `entered_in_error` is never lost to a message that does not know it.
- **A cramp** is active from its onset to its end. In `replay` a line without `received_at` arrives at the latest time
  that it states.
- **Aluminium bands** (R21) fall only after two results below; the suspicion (R20) ends with one result below 20 ug/L.
- **A result that `<` or `>` leaves undecided** raises nothing and is a `data_quality` alert; `>` counts for every band
  that it certainly reaches.
- **Implausible values** (outside the fences in `models/analytes.py`) and unknown units are never evaluated clinically.
- **Unknown LOINC codes** without an analyte are one `data_quality` alert a patient, however many there are.
- **What an answer covers**: a result or symptom is known from its arrival, so one that comes after an answer is new
  evidence even if it is older. A person who names an alert knew the input that gave it its id.
- **Times more than 5 min ahead of their arrival** count as the arrival; a report or an end in the future as none.
- **A session** lasts from its start message (else its first message of any kind) to its end, the next start, or 24 h.
- **A clock that is ahead** (E07) is one alert per source (machine, `source`, or kind of sender) and patient. It
  ends with the first believable message or when its time has come; the events are evaluated all the same.
"""


def document() -> str:
    """Return the text of docs/rules.md."""
    responses = ResponseLimits()
    return "\n".join(
        [
            _HEAD,
            "## Unanswered alerts",
            "",
            f"High: escalated {_numbers(responses.high)} s after it could be seen;",
            f"medium: {_numbers(responses.medium)} s;",
            "low and info never (`[responses]`). Not calling a high one again within 15 min needs `accept_risk`.",
            "",
            *(line for rule in ALL_RULES for line in _rule(rule)),
        ]
    )


def _rule(rule: Rule[Any]) -> list[str]:
    lines = [
        f"## `{rule.name}`",
        "",
        f"{rule.title}. Implements {rule.ids}; family `{rule.family}`, version {rule.version}.",
        "",
        *(line.strip() for line in (rule.find.__doc__ or "").strip().splitlines()),
        "",
        f"Reads {', '.join(shown(rule.inputs))}. Sources: {'; '.join(rule.sources)}.",
        "",
    ]
    for each in rule.yields_to:
        how = "No alert is raised" if each.holds_back else "Its alerts are lowered"
        lines += [f"{how} while an alert of `{each.by}` is open, unless of priority high: {each.why}.", ""]
    if rule.without:
        lines += [f"Does without: {'; '.join(rule.without)}.", ""]
    critical = {name: f"; **critical** if {way.value}" for name, way in marked(rule.limits, Silences)}
    defaults = rule.limits().model_dump()
    if defaults:
        lines += ["| threshold | default | meaning and source |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_value(value)} | {rule.limits.model_fields[name].description}{critical.get(name, '')} |"
            for name, value in defaults.items()
        ]
        lines.append("")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number:g} {unit}" for unit, number in value.items())
    return f"{value:g}"


def _numbers(values: list[float]) -> str:
    return " and ".join(f"{value:g}" for value in values)


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
