"""All rules, and a site's settings of them. Adding a rule: its module, its tests and its row here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import AfterValidator, Field

from models.alerts import Priority
from streams.rules import (
    aluminum,
    aluminum_drugs,
    aluminum_level,
    baclofen,
    baclofen_dose,
    baclofen_harm,
    blood_volume,
    cramp,
    data_quality,
    dialysate_mismatch,
    dialysate_sodium,
    electrolyte_changes,
    electrolytes,
    hypotension,
    identity_conflict,
    machine_alarm,
    machine_silent,
    magnesium,
    magnesium_first,
    magnesium_on_dialysis,
    medication,
    monitoring,
    nutrition,
    phosphate,
    recurrent_cramps,
    rhythm,
    seizure,
    setting_deviation,
    sodium_follow_up,
    sodium_profile,
    temperature,
    ultrafiltration,
    water_loop,
    weight_gain,
    workup,
)
from streams.rules.api import AcceptedRisk, Limits, LimitsT, LoopRule, PatientRule, Rule, StateT
from streams.rules.settings_checks import (
    ACCEPT_RISK,
    MAX_WORDS,
    check,
    has_critical_band,
    plain,
    shown,
    silenced,
    words_of,
)
from streams.rules.settings_file import SettingsFileError, read_tables
from streams.rules.thresholds import Silences

PATIENT_RULES: Final[tuple[PatientRule, ...]] = (
    *magnesium.RULES,
    *magnesium_first.RULES,
    *magnesium_on_dialysis.RULES,
    aluminum.SUSPICION_RULE,
    aluminum_level.RULE,
    aluminum.OVERDUE_RULE,
    aluminum_drugs.RULE,
    seizure.RULE,
    cramp.RULE,
    recurrent_cramps.RULE,
    workup.RULE,
    *electrolytes.RULES,
    *phosphate.RULES,
    *electrolyte_changes.RULES,
    dialysate_mismatch.RULE,
    *ultrafiltration.RULES,
    weight_gain.RULE,
    *rhythm.RULES,
    sodium_profile.RULE,
    sodium_follow_up.RULE,
    *temperature.RULES,
    hypotension.RULE,
    machine_alarm.RULE,
    dialysate_sodium.RULE,
    setting_deviation.RULE,
    blood_volume.RULE,
    *monitoring.RULES,
    machine_silent.RULE,
    nutrition.RULE,
    *baclofen.RULES,
    baclofen_dose.RULE,
    *baclofen_harm.RULES,
    *medication.RULES,
    identity_conflict.RULE,
    data_quality.RULE,
)
LOOP_RULES: Final[tuple[LoopRule, ...]] = (water_loop.RULE,)
ALL_RULES: Final[tuple[Rule[Any], ...]] = (*PATIENT_RULES, *LOOP_RULES)

RESPONSES: Final = "responses"
SITE: Final = "site"
#: An unanswered alert of priority high that escalates only later than this, in seconds, counts as silenced.
CALLED_AGAIN_BY_S: Final = 900.0
_LONGEST_DELAY_S: Final = 24 * 3600.0
_LONGEST_PATH: Final = 300


def _ascend(delays: list[float]) -> list[float]:
    if any(later <= earlier for earlier, later in pairwise(delays)):
        raise ValueError("each delay must be longer than the one before it")
    return delays


Delays = Annotated[
    list[Annotated[float, Field(gt=0, le=_LONGEST_DELAY_S)]], Field(max_length=2), AfterValidator(_ascend)
]


class ResponseLimits(Limits):
    """When an unanswered alert is escalated, in seconds after it could first be seen."""

    high: Delays = Field(default=[60, 300], description="seconds (contract: 60 s and 5 min)")
    medium: Delays = Field(default=[300, 1800], description="seconds (contract: 5 and 30 min)")

    def delays(self, priority: Priority) -> list[float]:
        """Return the seconds to each escalation; low and info never escalate."""
        return {Priority.HIGH: self.high, Priority.MEDIUM: self.medium}.get(priority, [])

    def silenced(self, wrong: set[str]) -> list[str]:
        """Return what does not escalate in time, one sentence each."""
        if "high" in wrong or (self.high and self.high[0] <= CALLED_AGAIN_BY_S):
            return []
        when = f"first called again after {self.high[0]:g} s" if self.high else "never called again"
        return [f"high: unanswered alerts of priority high are {when} (shipped: after 60 s)"]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone; give one of the IANA database, such as Europe/Berlin") from None
    return name


class SiteLimits(Limits):
    """What rules need to know of the site."""

    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = Field(
        default="UTC", description="IANA time zone in which days and months are counted"
    )
    continuous_citrate: Annotated[bool, Silences.RAISED] = Field(
        default=False,
        description="true where the site treats continuously with citrate: intravenous magnesium is then accepted in "
        "whoever has a standing order of citrate that is not oral; article L17 against Di Mario 2021",
    )


class RuleSettingsError(Exception):
    """Rule settings that cannot be used; `problems` holds one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class RuleSettings:
    """The rules in force: thresholds by rule, rules that are off, response times, accepted risks."""

    by_rule: Mapping[str, Limits]
    off: frozenset[str]
    responses: ResponseLimits
    risks: tuple[AcceptedRisk, ...] = ()
    site: SiteLimits = field(default_factory=SiteLimits)

    @cached_property
    def zone(self) -> ZoneInfo:
        """Return the site's time zone."""
        return ZoneInfo(self.site.time_zone)

    @property
    def continuous_citrate(self) -> bool:
        """Return whether the site accepts intravenous magnesium in continuous treatment with citrate."""
        return self.site.continuous_citrate

    def limits(self, rule: str, kind: type[LimitsT]) -> LimitsT:
        """Return the thresholds in force of a rule, which are of `kind`."""
        found = self.by_rule[rule]
        assert isinstance(found, kind)  # noqa: S101 (for the type checker)
        return found

    def is_on(self, rule: Rule[Any]) -> bool:
        """Return whether the site uses the rule."""
        return rule.name not in self.off

    def doubting(self, facet: str) -> tuple[PatientRule, ...]:
        """Return the rules that read a facet and may doubt a result of it, on or off."""
        return _doubting(facet)

    def risk(self, name: str) -> AcceptedRisk | None:
        """Return the accepted risk of a rule, or of `responses`; None if there is none."""
        return next((risk for risk in self.risks if risk.name == name), None)

    @property
    def shipped(self) -> RuleSettings:
        """Return the settings with every threshold as shipped."""
        return _SHIPPED

    def rules(self, catalogue: tuple[Rule[StateT], ...]) -> tuple[Rule[StateT], ...]:
        """Return the rules of a catalogue that are on.

        `data_quality` shows of whom an accepted risk is true, so it gets the inputs of the rules with such a risk.
        """
        read = tuple(each for risk in self.risks if risk.rule in PATIENT_RULES for each in risk.rule.inputs)
        return tuple(
            replace(rule, inputs=(*rule.inputs, *read), parts=())
            if read and rule.name == data_quality.RULE.name
            else rule
            for rule in catalogue
            if self.is_on(rule)
        )

    @cached_property
    def hash(self) -> str:
        """Return a fingerprint of rules and settings: state evaluated under another one is evaluated again."""
        content: dict[str, Any] = {
            rule.name: [rule.version, self.is_on(rule), self.by_rule[rule.name].model_dump()] for rule in ALL_RULES
        }
        risks = [[risk.name, risk.accepted] for risk in self.risks]
        site = [] if self.site == SiteLimits() else [self.site.model_dump()]
        whole = _as_floats([content, self.responses.model_dump(), *([risks] if risks else []), *site])
        return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()[:16]


@cache
def _doubting(facet: str) -> tuple[PatientRule, ...]:
    return tuple(rule for rule in PATIENT_RULES if rule.doubts is not None and facet in rule.reads)


def _as_floats(value: Any) -> Any:
    """Make numbers floats: 480 and 480.0 are one threshold."""
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def default_settings() -> RuleSettings:
    """Return the settings with every rule on and the thresholds of the clinical base."""
    return parse_settings({})


def load_settings(path: Path | None) -> RuleSettings:
    """Read a site's rule settings.

    Raises:
        RuleSettingsError: the file cannot be read, or something in it is wrong; every problem begins with the path.
    """
    if path is None:
        return default_settings()
    name = plain(str(path), _LONGEST_PATH)
    try:
        return parse_settings(read_tables(path))
    except SettingsFileError as error:
        raise RuleSettingsError([f"{name}: {error}"]) from None
    except RuleSettingsError as error:
        raise RuleSettingsError([f"{name}: {problem}" for problem in error.problems]) from None


def no_such_rule(name: str) -> str:
    """Return what is wrong with the name of no rule, as text: with the rule that was probably meant."""
    names = [rule.name for rule in ALL_RULES]
    meant = get_close_matches(plain(name), names, 1)
    nearest = f"; did you mean {meant[0]}?" if meant else ""
    return f"{plain(name)}: no such rule; there are {len(names)}, as `dialysis-alerts rules` lists them{nearest}"


def parse_settings(values: Mapping[str, Any]) -> RuleSettings:
    """Read rule settings from a mapping of rule name to thresholds.

    Beside thresholds a table takes `enabled = false`, which turns the rule off, and `accept_risk`, who accepts that
    the table silences a critical band, and why.

    Raises:
        RuleSettingsError: something is wrong, or silenced without `accept_risk`.
    """
    known = {rule.name: rule for rule in ALL_RULES}
    problems = [
        f"{no_such_rule(name)}; beside them {RESPONSES} and {SITE}"
        for name in sorted(set(values) - set(known) - {RESPONSES, SITE})
    ]
    by_rule: dict[str, Limits] = {}
    off: set[str] = set()
    risks: list[AcceptedRisk] = []
    for rule in ALL_RULES:
        table = _Table(rule.name, rule, values.get(rule.name, {}), problems)
        by_rule[rule.name] = table.limits(rule.limits)
        if not table.enabled:
            off.add(rule.name)
        risks += table.risk()
    answers = _Table(RESPONSES, None, values.get(RESPONSES, {}), problems)
    responses = answers.limits(ResponseLimits)
    risks += answers.risk()
    places = _Table(SITE, None, values.get(SITE, {}), problems)
    site = places.limits(SiteLimits)
    risks += places.risk()
    if data_quality.RULE.name in off and any(risk.rule for risk in risks):
        problems.append(f"{data_quality.RULE.name}.enabled: must be true where a risk is accepted: it says of whom")
    if problems:
        raise RuleSettingsError(problems)
    return RuleSettings(by_rule, frozenset(off), responses, tuple(risks), site)


class _Table:
    """One table of a site's settings; what is wrong with it goes to `problems`."""

    def __init__(self, name: str, rule: Rule[Any] | None, table: Any, problems: list[str]) -> None:
        self._name, self._rule, self._problems = name, rule, problems
        self.enabled = True
        self._silenced: list[str] = []
        if not isinstance(table, dict):
            problems.append(f"{name}: should be a table, [{name}]")
            table = {}
        self._thresholds = dict(table)
        self._said = ACCEPT_RISK in table
        self._words = words_of(self._thresholds.pop(ACCEPT_RISK, None))
        if self._said and self._words is None:
            problems.append(
                f"{name}.{ACCEPT_RISK}: is {shown(table[ACCEPT_RISK])}: should say who and why, in one line of at "
                f"most {MAX_WORDS} characters"
            )
        if rule is not None:
            self._turn_off(rule)

    def _turn_off(self, rule: Rule[Any]) -> None:
        enabled = self._thresholds.pop("enabled", True)
        if not isinstance(enabled, bool):
            self._problems.append(f"{self._name}.enabled: is {shown(enabled)}, should be true or false")
            return
        self.enabled = enabled
        if not enabled and has_critical_band(rule.limits):
            self._silenced.append("enabled: is false: what the rule calls high is not called at all")

    def limits(self, kind: type[LimitsT]) -> LimitsT:
        """Return the thresholds of the table over the shipped ones."""
        checked = check(kind, self._name, self._thresholds)
        self._problems += checked.problems
        limits = checked.limits
        if isinstance(limits, ResponseLimits):
            self._silenced += limits.silenced(checked.wrong)
        else:
            self._silenced += silenced(limits, checked.wrong)
        return limits

    def risk(self) -> list[AcceptedRisk]:
        """Return what the table silences as an accepted risk; where it is not accepted, add a problem for each."""
        if not self._silenced:
            return []
        if self._words is not None:
            return [AcceptedRisk(self._name, self._rule, self._words, tuple(self._silenced))]
        if not self._said:
            self._problems += [
                f'{self._name}.{sentence}; undo it, or add {ACCEPT_RISK} = "who and why" to [{self._name}]'
                for sentence in self._silenced
            ]
        return []


_SHIPPED: Final = default_settings()
