"""What a rule is, what it reads and what it returns.

A rule is a pure function of a subject's windows and the clock. It yields a `Finding` for every condition that holds
now, an `Ending` where a condition's end has a name of its own, and asks for a look when its answer could change
without a new event. It reads the inputs that it declares (`streams.rules.inputs`), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from models.alerts import BoundRecord, EvidenceRecord, GuidanceRecord, Priority, Reason, Status
from models.state import Bound, LoopState, PatientState, SubjectState
from streams.rules.inhibition import Inhibition
from streams.rules.inputs import Facets, Input, channel, channels_of, held_rules, holds, kinds_of

StateT = TypeVar("StateT", bound=SubjectState)
LimitsT = TypeVar("LimitsT", bound="Limits")
FactT = TypeVar("FactT")

#: Since when a clock has run that never stood.
ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


class Limits(BaseModel):
    """The thresholds of a rule, as a site may set them. Field descriptions give unit and source.

    Annotations give the rest (`streams.rules.thresholds`): units, durations, and what silences a critical band. A rule
    with such a threshold has a critical band, so turning the rule off silences it, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    #: Thresholds that must lie in this order, lowest first; each below the next in every unit.
    ascending: ClassVar[tuple[tuple[str, ...], ...]] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds.

    Attributes:
        key: distinguishes a rule's simultaneous conditions of one subject; an open alert is matched by it.
        anchors: inputs (`kind:id`) that may be the anchor of the episode; first the one that completed the condition.
        onset_at: when the condition began, in event time.
        known_at: when the newest of its evidence became known; a person's `resolve` covers what was known.
        level_known_at: likewise for the evidence of its priority; an `acknowledge` covers what was known.
        reason: why it is raised.
        counts_from: from when it counts, if not from its onset: a condition that must hold for a while.
        unmet_at: the newest moment before its onset at which inputs show that it was not met. What was taken to count
            only after that, because that input came late, never counted.
        inhibited_by: the alerts that lower it (the engine's `inhibit` stage fills this in).
        news: what a reader must know of; an open alert is shown anew only where this, its priority or its advice
            differs. None stands for onset, summary and evidence: readings that go on are no news.
        bound: the bound that decided, in the unit of the first piece of evidence; None where a number does not say it.
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
    counts_from: datetime | None = None
    unmet_at: datetime | None = None
    inhibited_by: tuple[str, ...] = ()
    news: tuple[str, ...] | None = None
    bound: BoundRecord | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The condition of `key` may still hold: its alert, if one is open, stays as it is."""

    key: str


@dataclass(frozen=True, slots=True)
class Lingering:
    """The condition of `key` is no longer found; if it counted, it does so until a moment.

    Attributes:
        unmet_at: since when it is not met; what was taken to count only after that never counted.
    """

    key: str
    until: datetime
    unmet_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How the condition of `key` ended, where "resolved, condition cleared" would be wrong."""

    key: str
    status: Status
    reason: Reason


Outcome = Finding | Ending | Unchanged | Lingering


@dataclass(frozen=True)
class AcceptedRisk:
    """A table of a site's settings that silences a critical band, and the sentence that accepts it.

    Attributes:
        name: the rule, or `responses`.
        rule: the rule, as it is shipped; None for `responses`.
        accepted: who and why, one line.
        silenced: what is no longer of priority high, or no longer escalated in time, one sentence each.
    """

    name: str
    rule: Rule[Any] | None
    accepted: str
    silenced: tuple[str, ...]


class SettingsView(Protocol):
    """The part of the rule settings that a rule may read."""

    @property
    def risks(self) -> tuple[AcceptedRisk, ...]:
        """Return the accepted risks: what the site's settings silence."""
        ...

    @property
    def shipped(self) -> SettingsView:
        """Return the settings with every threshold as shipped."""
        ...

    @property
    def zone(self) -> ZoneInfo:
        """Return the site's time zone, in which days and months are counted."""
        ...

    @property
    def continuous_citrate(self) -> bool:
        """Return whether the site treats continuously with citrate, and accepts intravenous magnesium there."""
        ...

    def is_on(self, rule: Rule[Any]) -> bool:
        """Return whether the site uses the rule."""
        ...

    def doubting(self, facet: str) -> tuple[PatientRule, ...]:
        """Return the rules that read a facet and may doubt a result of it, on or off."""
        ...

    def limits(self, rule: str, kind: type[LimitsT]) -> LimitsT:
        """Return the thresholds in force of a rule, which are of `kind`."""
        ...


class UndeclaredInputError(Exception):
    """A rule reads what it does not declare, so a change of that would not evaluate it: a fault of the rule."""


class View(Generic[StateT]):
    """What a rule sees: the inputs that it declares, the clock and the thresholds in force.

    Args:
        state: the subject.
        now: the clock.
        settings: thresholds.
        rule: the rule that reads it; None for the engine itself, which may read everything.
        changed: the facets that changed since the last evaluation; None if any may have.
        facts: the facts already computed for this moment and these settings.
        ran_since: since when the clock has run without standing; what was heard before may lie unread.
    """

    __slots__ = (
        "_facets",
        "_facts",
        "_rule",
        "_state",
        "changed",
        "next_look",
        "now",
        "older",
        "ran_since",
        "settings",
        "watches",
    )

    def __init__(
        self,
        state: StateT,
        now: datetime,
        settings: SettingsView,
        rule: Rule[StateT] | None = None,
        changed: Facets | None = None,
        facts: dict[Any, Any] | None = None,
        ran_since: datetime = ALWAYS,
    ) -> None:
        self._state = state
        self._facets = None if rule is None else rule.reads
        self._facts = {} if facts is None else facts
        self._rule = "" if rule is None else rule.name
        self.now = now
        self.ran_since = ran_since
        self.settings = settings
        self.changed = changed
        self.next_look: datetime | None = None
        #: The bounds that the rule watches, by session id and field of a sample.
        self.watches: dict[tuple[str, str], dict[str, Bound]] | None = None
        #: Those of them of which it wants the minutes before the envelope, too.
        self.older: frozenset[tuple[str, str]] = frozenset()

    @property
    def subject(self) -> str:
        """Return the id of the patient or the water loop."""
        return self._state.id

    def of_rule(self, rule: Rule[StateT]) -> View[StateT]:
        """Return the same moment as a rule sees it; facts are shared."""
        return View(self._state, self.now, self.settings, rule, self.changed, self._facts, self.ran_since)

    def of_any_change(self) -> View[StateT]:
        """Return the same moment, of which anything may have changed; facts are shared."""
        return View(self._state, self.now, self.settings, None, None, self._facts, self.ran_since)

    def under(self, rule: Rule[StateT], settings: SettingsView) -> View[StateT]:
        """Return what a rule would see under other settings; facts are not shared."""
        return View(self._state, self.now, settings, rule, ran_since=self.ran_since)

    def limits(self, kind: type[LimitsT]) -> LimitsT:
        """Return the thresholds in force of the view's rule."""
        return self.settings.limits(self._rule, kind)

    def read(self, *inputs: Input) -> StateT:
        """Return the state, of which only these inputs may be used.

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
        """Return the highest priority of another rule's conditions that hold (`inputs.holds`); None if none holds."""
        state = self.read(rule)
        found = [state.conditions.get(name, {}) for name in held_rules(rule.facets)]
        priorities = [priority for conditions in found for priority in conditions.values()]
        return max(priorities, key=lambda priority: priority.rank, default=None)

    def fact(self, name: Any, make: Callable[[], FactT]) -> FactT:
        """Return a fact that several rules need at one moment; it is computed once.

        Args:
            name: distinguishes it from all other facts.
            make: computes it, from inputs that were read through this view.
        """
        if name not in self._facts:
            self._facts[name] = make()
        found: FactT = self._facts[name]
        return found

    def silent_since(self, heard: datetime) -> datetime:
        """Return since when a sender is silent that was heard last at a moment: not for as long as the clock stood."""
        return max(heard, self.ran_since)

    def look_at(self, moment: datetime) -> None:
        """Ask for a look at `moment`, if it lies ahead."""
        if moment > self.now and (self.next_look is None or moment < self.next_look):
            self.next_look = moment

    def watch(self, session_id: str, field: str, bounds: Mapping[str, Bound], *, older: bool = False) -> None:
        """Ask for an evaluation once samples of a session have been on another side of a bound for as long as it waits.

        All other samples are filed and evaluate nobody. A rule asks for it anew at every evaluation; what it no longer
        asks for is no longer watched.

        Args:
            session_id: the session.
            field: the channel, as the field of a sample is called.
            bounds: by names of the rule's own.
            older: whether the channel keeps one value for each of the minutes before its envelope, too.

        Raises:
            UndeclaredInputError: the rule does not declare the channel.
        """
        self.read(channel(field))
        self.watches = {**(self.watches or {}), (session_id, field): dict(bounds)}
        if older:
            self.older |= {(session_id, field)}


@dataclass(frozen=True)
class Part(Generic[StateT]):
    """Conditions of a rule that depend on a few of its inputs alone.

    One of them may begin only by a change of these inputs, or at a look that was asked for.
    """

    inputs: tuple[Input, ...]
    find: Callable[[View[StateT]], Iterable[Outcome]]

    @cached_property
    def reads(self) -> Facets:
        """Return the facets of its inputs."""
        return frozenset().union(*(each.facets for each in self.inputs))


@dataclass(frozen=True)
class Rule(Generic[StateT]):
    """One rule: its name in the contract, its inputs and its decision."""

    name: str
    version: int
    family: str
    #: Rules of clinical.md that it implements, for the catalogue.
    ids: str
    title: str
    #: The inputs that can change its answer.
    inputs: tuple[Input, ...]
    limits: type[Limits]
    find: Callable[[View[StateT]], Iterable[Outcome]]
    sources: tuple[str, ...] = ()
    #: For a condition (by its key): every input that could be its alert's anchor in some order of arrival. An answer
    #: to any of the ids that these give is an answer to this alert; None stands for the finding's own anchors.
    named_by: Callable[[StateT, str], Iterable[str]] | None = None
    #: Returns why the newest result of an analyte that it reads (`labs.Result`) cannot be placed, or contradicts its
    #: flags, as `data_quality` reports it; None if nothing is wrong. Called for results with a comparator or flags.
    doubts: Callable[[View[StateT], Any], str | None] | None = None
    #: The conditions of a rule with many inputs, by what they depend on: while none of them holds, only those whose
    #: inputs changed are evaluated. `find` evaluates all of them.
    parts: tuple[Part[StateT], ...] = ()
    #: Without any of these it finds nothing and looks at nothing: it is asked only of subjects that have one.
    needs: tuple[Input, ...] = ()
    #: Its conditions must last before they count, or are kept for a while (`Finding.counts_from`, `Lingering`).
    lingers: bool = False
    #: The greater rules whose open alerts lower this one's.
    yields_to: tuple[Inhibition, ...] = ()
    #: Inputs that the clinical base asks for and no event carries.
    without: tuple[str, ...] = field(default=())

    @cached_property
    def reads(self) -> Facets:
        """Return the facets of all its inputs; the rules to which it yields are evaluated first."""
        greater = (holds(each.by) for each in self.yields_to)
        return frozenset().union(*(each.facets for each in (*self.inputs, *greater)))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Return the kinds of inputs that it needs."""
        return kinds_of(frozenset().union(*(each.facets for each in self.needs)))

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Return the fields of samples that it reads as channels."""
        return tuple(channels_of(self.reads))


PatientRule = Rule[PatientState]
PatientPart = Part[PatientState]
LoopRule = Rule[LoopState]
PatientView = View[PatientState]
LoopView = View[LoopState]


def guidance(text: str, basis: str) -> GuidanceRecord:
    """Make an advice: what to review, and the article's line with the second source."""
    return GuidanceRecord(text=text, basis=basis)


def tuple_of(*items: GuidanceRecord | None) -> tuple[GuidanceRecord, ...]:
    """Return the advices that apply; None stands for one that does not."""
    return tuple(item for item in items if item is not None)


def parse_limits(kind: type[LimitsT], values: Mapping[str, Any]) -> LimitsT:
    """Validate a site's thresholds over the defaults; raises pydantic's ValidationError."""
    return kind.model_validate(dict(values))
