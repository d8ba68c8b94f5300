"""What a rule is, what it sees and what it says.

A rule is a pure function of a subject's windows and the clock. It yields a `Finding` for every condition that
holds now, an `Ending` where a condition's end has a name of its own, and asks to be looked at again when its
answer could change without a new event. It reads what it declares (`streams.rules.inputs`), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from models.alerts import EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.state import LoopState, PatientState, SubjectState
from streams.rules.inputs import Facets, Input, held_rules

StateT = TypeVar("StateT", bound=SubjectState)
LimitsT = TypeVar("LimitsT", bound="Limits")
FactT = TypeVar("FactT")


class Limits(BaseModel):
    """The thresholds of a rule, as a site may set them. Field descriptions give unit and source.

    Annotations give the rest (`streams.rules.thresholds`): units, durations, and what silences a critical band. A rule
    with such a threshold has a critical band, and turning the rule off silences it, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    #: Thresholds that must lie in this order, lowest first; each below the next in every unit.
    ascending: ClassVar[tuple[tuple[str, ...], ...]] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds.

    Attributes:
        key: tells a rule's simultaneous conditions about one subject apart; an open alert is matched by it.
        anchors: inputs (`kind:id`) that may name the episode, the one that completed the condition first.
        onset_at: when the condition began, in event time.
        known_at: when the newest of its evidence could be known; a person's `resolve` silences what was known.
        level_known_at: likewise for the evidence of its priority; an `acknowledge` covers what was known.
        reason: why it is raised.
    """

    key: str
    anchors: tuple[str, ...]
    priority: Priority
    onset_at: datetime
    known_at: datetime
    level_known_at: datetime
    summary: str
    guidance: tuple[GuidanceRecord, ...]
    evidence: tuple[EvidenceRecord, ...]
    session_id: str | None = None
    reason: Reason = Reason.CONDITION_MET


@dataclass(frozen=True, slots=True)
class Ending:
    """How the condition of `key` ended, where "resolved, condition cleared" would not say it."""

    key: str
    status: Status
    reason: Reason


Outcome = Finding | Ending


@dataclass(frozen=True)
class AcceptedRisk:
    """A table of a site's settings that silences a critical band, and the words that accept it.

    Attributes:
        name: the rule, or `responses`.
        rule: the rule, as it is shipped; None for `responses`.
        accepted: who and why, one line.
        silenced: what is no longer called high or called again, one sentence each.
    """

    name: str
    rule: Rule[Any] | None
    accepted: str
    silenced: tuple[str, ...]


class SettingsView(Protocol):
    """The rule settings, as far as a rule may look at them."""

    @property
    def risks(self) -> tuple[AcceptedRisk, ...]:
        """What the site's settings silence, and has been accepted."""
        ...

    @property
    def shipped(self) -> SettingsView:
        """The settings with every threshold as shipped."""
        ...

    def is_on(self, rule: Rule[Any]) -> bool:
        """Whether the site uses the rule."""
        ...

    def doubting(self, facet: str) -> tuple[PatientRule, ...]:
        """The rules that read a facet and may doubt a result of it, on or off."""
        ...

    def limits(self, rule: str, kind: type[LimitsT]) -> LimitsT:
        """The thresholds in force of a rule, which are of `kind`."""
        ...


class UndeclaredInputError(Exception):
    """A rule reads what it does not declare, so a change of that would not wake it: a fault of the rule."""


class View(Generic[StateT]):
    """What a rule sees: the inputs that it declares, the clock and the thresholds in force.

    Args:
        state: the subject.
        now: the clock.
        settings: thresholds.
        rule: the rule that sees it; None for the engine itself, which may read everything.
        changed: what changed since the last evaluation; None where anything may have.
        facts: what was already worked out of this moment and these settings.
    """

    __slots__ = ("_facets", "_facts", "_rule", "_state", "changed", "next_look", "now", "settings")

    def __init__(
        self,
        state: StateT,
        now: datetime,
        settings: SettingsView,
        rule: Rule[StateT] | None = None,
        changed: Facets | None = None,
        facts: dict[Any, Any] | None = None,
    ) -> None:
        self._state = state
        self._facets = None if rule is None else rule.reads
        self._facts = {} if facts is None else facts
        self._rule = "" if rule is None else rule.name
        self.now = now
        self.settings = settings
        self.changed = changed
        self.next_look: datetime | None = None

    @property
    def subject(self) -> str:
        """The id of the patient or the water loop."""
        return self._state.id

    def of_rule(self, rule: Rule[StateT]) -> View[StateT]:
        """The same moment as a rule sees it; facts are shared."""
        return View(self._state, self.now, self.settings, rule, self.changed, self._facts)

    def under(self, rule: Rule[StateT], settings: SettingsView) -> View[StateT]:
        """What a rule would see under other settings."""
        return View(self._state, self.now, settings, rule)

    def limits(self, kind: type[LimitsT]) -> LimitsT:
        """The thresholds in force of the rule that sees this."""
        return self.settings.limits(self._rule, kind)

    def read(self, *inputs: Input) -> StateT:
        """The state, of which only these inputs may be used.

        Raises:
            UndeclaredInputError: the rule does not declare one of them.
        """
        if self._facets is not None:
            for each in inputs:
                if not each.facets <= self._facets:
                    missing = ", ".join(sorted(each.facets - self._facets))
                    raise UndeclaredInputError(f"reads {missing}: add that to its inputs")
        return self._state

    def holds(self, rule: Input) -> Priority | None:
        """The highest priority of the conditions of another rule (`inputs.holds`) that hold; None where none does."""
        state = self.read(rule)
        found = [state.conditions.get(name, {}) for name in held_rules(rule.facets)]
        priorities = [priority for conditions in found for priority in conditions.values()]
        return max(priorities, key=lambda priority: priority.rank, default=None)

    def fact(self, name: Any, make: Callable[[], FactT]) -> FactT:
        """Something that several rules ask of one moment, worked out once.

        Args:
            name: tells it apart from all other facts.
            make: works it out, of inputs that were read through this view.
        """
        if name not in self._facts:
            self._facts[name] = make()
        found: FactT = self._facts[name]
        return found

    def look_at(self, moment: datetime) -> None:
        """Ask for another look at `moment`, if it lies ahead."""
        if moment > self.now and (self.next_look is None or moment < self.next_look):
            self.next_look = moment


@dataclass(frozen=True)
class Rule(Generic[StateT]):
    """One rule: a name of the contract, what it reads and how it decides."""

    name: str
    version: int
    family: str
    #: Rules of clinical.md that it implements, for the catalogue.
    ids: str
    title: str
    #: What can change its answer.
    inputs: tuple[Input, ...]
    limits: type[Limits]
    find: Callable[[View[StateT]], Iterable[Outcome]]
    sources: tuple[str, ...] = ()
    #: Of a condition (by its key): every input that some order of arrival could have named its alert after. A
    #: response to any of those ids is one to this alert; None stands for the finding's own anchors.
    named_by: Callable[[StateT, str], Iterable[str]] | None = None
    #: Why the newest result of an analyte that it reads (`labs.Result`) cannot be placed, or contradicts its flags, for
    #: `data_quality` to say; None where nothing is wrong. It is asked of results with a comparator or with flags.
    doubts: Callable[[View[StateT], Any], str | None] | None = None
    #: Inputs that the clinical base asks for and no event carries.
    without: tuple[str, ...] = field(default=())

    @cached_property
    def reads(self) -> Facets:
        """The facets of all its inputs."""
        return frozenset().union(*(each.facets for each in self.inputs))


PatientRule = Rule[PatientState]
LoopRule = Rule[LoopState]
PatientView = View[PatientState]
LoopView = View[LoopState]


def guidance(text: str, basis: str) -> GuidanceRecord:
    """An advice: what to review, and the article's line with the second source."""
    return GuidanceRecord(text=text, basis=basis)


def tuple_of(*items: GuidanceRecord | None) -> tuple[GuidanceRecord, ...]:
    """The advices that apply; None stands for one that does not."""
    return tuple(item for item in items if item is not None)


def parse_limits(kind: type[LimitsT], values: Mapping[str, Any]) -> LimitsT:
    """Validate a site's thresholds over the defaults; raises pydantic's ValidationError."""
    return kind.model_validate(dict(values))
