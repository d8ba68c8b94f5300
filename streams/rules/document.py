"""Writes docs/rules.md and a page a family in docs/rules: `python -m streams.rules.document`. A test compares them."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from models.alerts import Priority
from streams.rules.api import Rule
from streams.rules.catalogue import ALL_RULES, ResponseLimits
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import shown
from streams.rules.settings_checks import marked
from streams.rules.thresholds import Silences

_DOCS: Final = Path(__file__).parents[2] / "docs"
#: The index, and the folder of the pages.
PATH: Final = _DOCS / "rules.md"
FOLDER: Final = _DOCS / "rules"

_HEAD: Final = """\
# Rules

The rules by family, a site's settings, and choices that concern several rules. The page of a family has what each rule
reads, its thresholds with their sources, what ends its alerts, which inputs it lacks, and what is our own choice.
`python -m streams.rules.document` writes all of it from the catalogue; `dialysis-alerts rules` prints the thresholds in
force at a site.

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


_SITE: Final = """\
## The site

`[site]` sets what rules need to know of it: `time_zone`, the IANA time zone in which days and months are counted
(shipped: UTC). No rule that is built so far counts days of the site.
"""
_OURS: Final = re.compile(r"\bours\b")

_INHIBITION: Final = """\
# Which alerts give way

[All families](../{index})

One episode is one page: while an alert of the greater rule is open, those of the lesser rule are lowered, or new ones
are held back. The lesser alert names the greater one in `inhibited_by` with reason `inhibited`, the greater one names
it in `inhibits`. An alert of priority high is never touched. None is lost: when the greater alert ends first, the
lesser one comes up again (reason `inhibition_ended`), and one that was held back is raised if its condition still
holds.

| lesser rule | greater rule | the lesser one is | because |
|---|---|---|---|
"""


def documents() -> dict[Path, str]:
    """Return the text of the index and of every page, by path."""
    families = [(name, list(rules)) for name, rules in groupby(sorted(ALL_RULES, key=_place), key=_family)]
    return (
        {PATH: _index(families)}
        | {FOLDER / f"{name}.md": _page(name, rules) for name, rules in families}
        | {FOLDER / "inhibition.md": _inhibition()}
    )


def write() -> None:
    """Write the index and the pages; a page of no family goes."""
    found = documents()
    FOLDER.mkdir(exist_ok=True)
    for path in set(FOLDER.glob("*.md")) - found.keys():
        path.unlink()
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")


def _family(rule: Rule[Any]) -> str:
    return rule.family


def _place(rule: Rule[Any]) -> tuple[str, int]:
    return rule.family, ALL_RULES.index(rule)


def _index(families: list[tuple[str, list[Rule[Any]]]]) -> str:
    responses = ResponseLimits()
    rows = [
        f"| [`{rule.name}`](rules/{name}.md#{rule.name}) | {rule.title} | {rule.ids} | {name} |"
        for name, rules in families
        for rule in rules
    ]
    return "\n".join(
        [
            _HEAD,
            "## Rules by family",
            "",
            "| rule | watches | clinical.md | family |",
            "|---|---|---|---|",
            *rows,
            "",
            _SITE,
            "## Unanswered alerts",
            "",
            f"High: escalated {_numbers(responses.high)} s after it could be seen;",
            f"medium: {_numbers(responses.medium)} s;",
            "low and info never (`[responses]`). Not calling a high one again within 15 min needs `accept_risk`.",
            "",
        ]
    )


def _page(family: str, rules: list[Rule[Any]]) -> str:
    head = [f"# Rules of the family `{family}`", "", f"[All families](../{PATH.name})", ""]
    return "\n".join([*head, *(line for rule in rules for line in _rule(rule))])


def _inhibition() -> str:
    """Return the page of all pairs that the lesser rules declare."""
    pairs = sorted(
        ((rule.family, rule.name, each.by, each) for rule in ALL_RULES for each in rule.yields_to),
        key=lambda pair: pair[:3],
    )
    family_of = {rule.name: rule.family for rule in ALL_RULES}
    rows = [
        f"| [`{name}`]({family}.md#{name}) | [`{by}`]({family_of[by]}.md#{by}) | {_how(each)} | {each.why} |\n"
        for family, name, by, each in pairs
    ]
    return _INHIBITION.format(index=PATH.name) + "".join(rows)


def _how(pair: Inhibition) -> str:
    lowered = f"lowered by {pair.lower_by} {'priority' if pair.lower_by == 1 else 'priorities'}"
    how = f"held back; an open one is {lowered}" if pair.holds_back else lowered
    return how if pair.least is Priority.INFO else f"{how} while the greater one is {pair.least}"


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
    if rule.needs:
        lines += [f"It is not asked of a patient without any {' or '.join(shown(rule.needs))}.", ""]
    for each in rule.yields_to:
        how = "No alert is raised" if each.holds_back else "Its alerts are lowered"
        lines += [f"{how} while an alert of `{each.by}` is open, unless of priority high: {each.why}.", ""]
    if rule.without:
        lines += [f"Does without: {'; '.join(rule.without)}.", ""]
    ours = [name for name, each in rule.limits.model_fields.items() if _OURS.search(each.description or "")]
    if ours:
        lines += [f"Our own choice: {', '.join(f'`{name}`' for name in ours)}.", ""]
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
    write()
