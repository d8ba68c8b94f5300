"""`dialysis-alerts rules`: print the catalogue or one rule, or check a settings file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.exit_status import DONE, WRONG_USE
from streams.rules.api import AcceptedRisk, Rule
from streams.rules.catalogue import (
    ALL_RULES,
    RESPONSES,
    ResponseLimits,
    RuleSettings,
    RuleSettingsError,
    load_settings,
    no_such_rule,
)
from streams.rules.inputs import shown
from streams.rules.settings_checks import plain

_VARIABLE: Final = "DIALYSIS_RULES: "
#: The width for a line of the catalogue where no terminal gives one.
_PLAIN_WIDTH: Final = 160


def list_rules(rules_file: Path | None) -> int:
    """Print every rule with its state, thresholds and sources; return the exit status."""
    settings = _settings(rules_file, _VARIABLE)
    if settings is None:
        return WRONG_USE
    table = Table("rule", "v", "state", "family", "implements", "what", "thresholds", "sources", title="Rules")
    for rule in ALL_RULES:
        table.add_row(
            rule.name,
            str(rule.version),
            _state(rule, settings),
            rule.family,
            rule.ids,
            rule.title,
            "\n".join(escape(f"{name} {_value(value)}") for name, value in _limits(rule, settings).items()),
            "\n".join(rule.sources),
        )
    _console().print(table)
    _print_risks(settings.risks)
    return DONE


def show_rule(name: str, rules_file: Path | None) -> int:
    """Print one rule: its inputs, its thresholds with their sources, and its behaviour when an input is missing."""
    settings = _settings(rules_file, _VARIABLE)
    if settings is None:
        return WRONG_USE
    rule = next((rule for rule in ALL_RULES if rule.name == name), None)
    if rule is None:
        print(no_such_rule(name), file=sys.stderr)
        return WRONG_USE
    console = _console()
    console.print(f"[bold]{rule.name}[/bold] version {rule.version}, {_state(rule, settings)}")
    _print_risks([risk for risk in settings.risks if risk.name in (name, RESPONSES)])
    console.print(f"{rule.title}  (clinical base {rule.ids}, family {rule.family})\n")
    console.print(escape(_prose(rule)) + "\n")
    console.print(f"reads      {', '.join(shown(rule.inputs))}")
    console.print(f"sources    {'; '.join(rule.sources)}")
    for missing in rule.without:
        console.print(f"without    {missing}")
    _print_limits(console, _limits(rule, settings), rule.limits)
    delays = settings.responses
    console.print(
        f"\nunanswered high after {_value(delays.high)}, medium after {_value(delays.medium)} (s); low and info never"
    )
    return DONE


def check_rules(path: Path) -> int:
    """Validate a site's rule settings; print each problem, or what differs from the defaults."""
    settings = _settings(path)
    if settings is None:
        return WRONG_USE
    changes = [f"{name} is off" for name in sorted(settings.off)]
    for rule in ALL_RULES:
        changes += _changes(rule.name, _limits(rule, settings), rule.limits)
    changes += _changes("responses", settings.responses.model_dump(), ResponseLimits)
    print(f"{plain(str(path), len(str(path)))}: right; {len(changes)} settings differ from the defaults")
    for change in changes:
        print(f"  {change}")
    _print_risks(settings.risks)
    return DONE


def _settings(path: Path | None, named_by: str = "") -> RuleSettings | None:
    try:
        return load_settings(path)
    except RuleSettingsError as error:
        for problem in error.problems:
            print(f"{named_by}{problem}", file=sys.stderr)
        return None


def _state(rule: Rule[Any], settings: RuleSettings) -> str:
    state = "on" if settings.is_on(rule) else "off"
    return f"{state}, risk accepted" if settings.risk(rule.name) else state


def _print_risks(risks: Iterable[AcceptedRisk]) -> None:
    """Print silenced bands and who accepted them, one line each; not in a table, so that a script can read it."""
    for risk in risks:
        print(f"risk accepted in [{risk.name}]: {'; '.join(risk.silenced)}; accepted: {risk.accepted}")


def _limits(rule: Rule[Any], settings: RuleSettings) -> dict[str, Any]:
    return settings.by_rule[rule.name].model_dump()


def _changes(name: str, values: Mapping[str, Any], kind: type[Any]) -> list[str]:
    defaults = kind().model_dump()
    return [
        f"{name}.{field} = {_value(value)} (default {_value(defaults[field])})"
        for field, value in values.items()
        if value != defaults[field]
    ]


def _print_limits(console: Console, values: Mapping[str, Any], kind: type[Any]) -> None:
    if not values:
        return
    table = Table("threshold", "in force", "default", "meaning and source", title="Thresholds", title_justify="left")
    defaults = kind().model_dump()
    for name, value in values.items():
        described = kind.model_fields[name].description or ""
        table.add_row(name, _value(value), _value(defaults[name]), escape(described))
    console.print(table)


def _prose(rule: Rule[Any]) -> str:
    """Return the docstring of the rule's function, which describes its decision."""
    return "\n".join(line.strip() for line in (rule.find.__doc__ or "").strip().splitlines())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number:g} {unit}" for unit, number in value.items())
    if isinstance(value, list):
        return " and ".join(f"{number:g}" for number in value) or "none"
    return f"{value:g}" if isinstance(value, float | int) else str(value)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
