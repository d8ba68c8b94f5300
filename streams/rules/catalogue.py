"""All rules, and a site's settings of them. Adding a rule: its module, its tests and its row here."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field, ValidationError

from models.alerts import Priority
from streams.rules import aluminum, aluminum_level, cramp, data_quality, magnesium, water_loop
from streams.rules.base import Limits, LimitsT, LoopRule, PatientRule, Rule, StateT, parse_limits

PATIENT_RULES: Final[tuple[PatientRule, ...]] = (
    magnesium.RULE,
    aluminum.SUSPICION_RULE,
    aluminum_level.RULE,
    aluminum.OVERDUE_RULE,
    cramp.RULE,
    data_quality.RULE,
)
LOOP_RULES: Final[tuple[LoopRule, ...]] = (water_loop.RULE,)
ALL_RULES: Final[tuple[Rule[Any], ...]] = (*PATIENT_RULES, *LOOP_RULES)

Delays = Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=2)]


class ResponseLimits(Limits):
    """When an unanswered alert is escalated, in seconds after it could first be seen."""

    high: Delays = Field(default=[60, 300], description="seconds (contract: 60 s and 5 min)")
    medium: Delays = Field(default=[300, 1800], description="seconds (contract: 5 and 30 min)")

    def delays(self, priority: Priority) -> list[float]:
        """Seconds to each escalation; low and info are never escalated."""
        return {Priority.HIGH: self.high, Priority.MEDIUM: self.medium}.get(priority, [])


class RuleSettingsError(Exception):
    """A rule-settings file that cannot be used; one line per problem."""


@dataclass(frozen=True)
class RuleSettings:
    """The rules in force: thresholds by kind, which rules are off, response times."""

    by_kind: Mapping[type[Limits], Limits]
    off: frozenset[str]
    responses: ResponseLimits

    def limits(self, kind: type[LimitsT]) -> LimitsT:
        """The thresholds in force of the rule that declared `kind`."""
        found = self.by_kind[kind]
        assert isinstance(found, kind)  # noqa: S101 (for the type checker)
        return found

    def is_on(self, rule: Rule[Any]) -> bool:
        """Whether the site uses the rule."""
        return rule.name not in self.off

    def rules(self, catalogue: tuple[Rule[StateT], ...]) -> tuple[Rule[StateT], ...]:
        """The rules of a catalogue that are on."""
        return tuple(rule for rule in catalogue if self.is_on(rule))

    @cached_property
    def hash(self) -> str:
        """Fingerprint of rules and thresholds: state evaluated under another one is evaluated again."""
        content = {
            rule.name: [rule.version, self.is_on(rule), self.by_kind[rule.limits].model_dump()] for rule in ALL_RULES
        }
        encoded = msgspec.json.encode(_as_floats([content, self.responses.model_dump()]), order="sorted")
        return hashlib.sha256(encoded).hexdigest()[:16]


def _as_floats(value: Any) -> Any:
    """480 and 480.0 are one threshold."""
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def default_settings() -> RuleSettings:
    """Every rule on, with the thresholds of the clinical base."""
    return parse_settings({})


def load_settings(path: Path | None) -> RuleSettings:
    """Read a site's rule settings.

    Raises:
        RuleSettingsError: the file cannot be read, or names a rule or threshold that does not exist.
    """
    if path is None:
        return default_settings()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RuleSettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RuleSettingsError(f"{path}: is not TOML: {error}") from error
    try:
        return parse_settings(values)
    except RuleSettingsError as error:
        raise RuleSettingsError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def parse_settings(values: Mapping[str, Any]) -> RuleSettings:
    """Rule settings from a mapping of rule name to thresholds; `enabled = false` turns a rule off."""
    problems: list[str] = []
    tables = dict(values)
    known = {rule.name: rule for rule in ALL_RULES}
    problems += [
        f"{name}: no such rule; there are {', '.join(sorted(known))}, and responses"
        for name in sorted(set(tables) - set(known) - {"responses"})
    ]
    by_kind: dict[type[Limits], Limits] = {}
    off = set()
    for rule in ALL_RULES:
        table = tables.get(rule.name, {})
        if isinstance(table, dict):
            table = dict(table)
            enabled = table.pop("enabled", True)
            if not isinstance(enabled, bool):
                problems.append(f"{rule.name}.enabled: is {enabled!r}, should be true or false")
            elif not enabled:
                off.add(rule.name)
        by_kind[rule.limits] = _limits(rule.limits, rule.name, table, problems)
    responses = _limits(ResponseLimits, "responses", tables.get("responses", {}), problems)
    if problems:
        raise RuleSettingsError("\n".join(problems))
    return RuleSettings(by_kind, frozenset(off), responses)


def _limits(kind: type[LimitsT], name: str, table: Any, problems: list[str]) -> LimitsT:
    if not isinstance(table, dict):
        problems.append(f"{name}: should be a table, [{name}]")
        return kind()
    try:
        return parse_limits(kind, table)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            field = ".".join(str(part) for part in (name, *item["loc"]))
            wanted = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                wanted = f"no such threshold; there are {', '.join(kind.model_fields)}"
            problems.append(f"{field}: is {item['input']!r}: {wanted}")
        return kind()
