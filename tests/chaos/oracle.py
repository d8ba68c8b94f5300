"""The oracle: what must be told of what was planted, held against what was told.

    must <= observed <= must | may

`must` is every condition that was planted, `may` every other one that held in the raw input by the words of
clinical.md (`tests.chaos.clinical`). It knows nothing of the engine, so it cannot be wrong in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tests.chaos.clinical import (
    CLUSTER,
    LEVEL,
    RULES,
    SUSPICION,
    Condition,
    Findings,
    conditions,
    is_held_to_form,
)
from tests.chaos.logs import Logs, Record, Sent
from tests.chaos.machines_judged import ALARM, SILENT, TEMPERATURE
from tests.chaos.magnesium_judged import LOW_MAGNESIUM, QTC
from tests.chaos.places import Lost, where_lost
from tests.chaos.pressure_judged import HYPOTENSION
from tests.chaos.told import OPEN, Episode, Told, Transition
from tests.chaos.treated import IV_MAGNESIUM

#: Of which it is judged whether they are of the highest priority.
_PRIORITISED: Final = frozenset(
    {LOW_MAGNESIUM, LEVEL, SUSPICION, IV_MAGNESIUM, ALARM, SILENT, TEMPERATURE, HYPOTENSION, QTC}
)
#: A moment that a deadline gives is exact but for the rounding of timestamps.
_EXACT: Final = timedelta(milliseconds=2)


class Kind(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    EXTRA = "extra"
    DIFFERING = "differing repeat"
    GAP = "gap in the revisions"
    TIME = "wrong time"
    PICTURE = "wrong picture"
    OFFSETS = "offsets"
    UNREAD = "plant not understood"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in words."""

    kind: Kind
    text: str
    place: Lost | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" + (f" [{self.place}]" if self.place else "")


@dataclass
class Verdict:
    """What the oracle found."""

    findings: list[Finding] = field(default_factory=list)
    #: Conditions that had to be told, and those that might.
    must: int = 0
    may: int = 0
    #: Seconds from the acknowledged message to the alert in a reader's hands, with when that was (wall clock).
    latencies: list[tuple[float, float]] = field(default_factory=list)
    #: The furthest that a transition's `at` lay behind the record that brought it about, seconds of unit time.
    furthest: float = 0.0
    #: Alert records beyond the first of their revision.
    repeats: int = 0

    def count(self, *kinds: Kind) -> int:
        """How many findings are of these kinds."""
        return sum(finding.kind in kinds for finding in self.findings)

    @property
    def lost(self) -> int:
        return self.count(Kind.LOST, Kind.GAP, Kind.UNREAD)

    @property
    def extra(self) -> int:
        return self.count(Kind.EXTRA, Kind.TIME, Kind.PICTURE)

    @property
    def differing(self) -> int:
        return self.count(Kind.DIFFERING)

    @property
    def at_log_end(self) -> bool:
        return not self.count(Kind.OFFSETS)

    def explained(self, most: int = 12) -> str:
        """The findings in words, the first of each kind at least."""
        chosen: list[Finding] = []
        for finding in self.findings:
            if len(chosen) < most or all(finding.kind != one.kind for one in chosen):
                chosen.append(finding)
        more = len(self.findings) - len(chosen)
        return "\n".join([*map(str, chosen), *([f"and {more} more"] if more else [])])


def judge(logs: Logs, slack: timedelta) -> Verdict:
    """Hold what was told against what was planted.

    Args:
        logs: what the run left.
        slack: how far a transition's `at` may lie behind the record that brought it about: topics have no order
            between each other, so a task may have heard of a later moment already.
    """
    return _Judge(logs, slack).verdict()


class _Judge:
    def __init__(self, logs: Logs, slack: timedelta) -> None:
        self._logs = logs
        self._slack = slack
        self._told = Told.of(logs.alerts)
        self._said = Verdict(repeats=len(logs.alerts) - len(self._told.forms))
        self._by_identity: dict[object, list[Record]] = defaultdict(list)
        for record in logs.inputs:
            self._by_identity[record.topic, record.key, record.value, record.stamp].append(record)
        self._sent: dict[object, Sent] = {sent.identity: sent for sent in logs.sent}

    def verdict(self) -> Verdict:
        """Everything, in the order of the way from producer to reader."""
        garbage = {sent.identity for sent in self._logs.sent for plant in sent.plants if plant.reason}
        found = conditions(
            self._logs.inputs, lambda record: (record.topic, record.key, record.value, record.stamp) in garbage
        )
        self._accepted()
        self._understood(found)
        self._conditions(found)
        self._dead_letters()
        self._form()
        self._picture()
        self._offsets()
        return self._said

    def _say(self, kind: Kind, text: str, place: Lost | None = None) -> None:
        self._said.findings.append(Finding(kind, text, place))

    def _accepted(self) -> None:
        """Everything that was sent lies on its topic."""
        for sent in self._logs.sent:
            if sent.identity not in self._by_identity:
                what = ", ".join(plant.rule for plant in sent.plants) or "nothing planted"
                self._say(Kind.LOST, f"a message of {sent.topic} at {_shown(sent.stamp)} ({what})", Lost.NOT_ACCEPTED)

    def _understood(self, found: Findings) -> None:
        """Everything that was planted is a condition in the oracle's own reading."""
        known = {(one.rule, one.subject, name) for one in found.conditions for name in one.ids}
        for sent in self._logs.sent:
            if sent.identity in self._by_identity:
                for plant in sent.plants:
                    if plant.rule in RULES and not any((plant.rule, plant.subject, i) in known for i in plant.ids):
                        self._say(Kind.UNREAD, f"{plant.rule} of {plant.subject} {sorted(plant.ids)}")

    # -- what was told of the conditions

    def _conditions(self, found: Findings) -> None:
        planted = {(p.rule, p.subject, name) for sent in self._logs.sent for p in sent.plants for name in p.ids}
        episodes: dict[tuple[str, str], list[Episode]] = defaultdict(list)
        for episode in self._told.episodes():
            alert = episode.raised.alert
            if not is_held_to_form(alert) and alert["rule"] != CLUSTER:
                episodes[alert["rule"], alert["patient_id"]].append(episode)
        for one in found.conditions:
            mine = episodes[one.rule, one.subject]
            must = any((one.rule, one.subject, name) in planted for name in one.ids)
            self._said.must += must
            self._said.may += not must
            found_for = self._found_for(one, mine)
            if found_for is not None:
                mine.remove(found_for)
                self._told_of(one, found_for, must=must)
            elif must:
                self._lost(one, one.known, "raised", set(OPEN) | one.ends)
        for extra in (episode for left in episodes.values() for episode in left):
            self._say(Kind.EXTRA, f"{extra.raised}: nothing in the input makes it so")
        self._clusters(found)

    def _found_for(self, one: Condition, episodes: list[Episode]) -> Episode | None:
        """What was told of a condition: of several that show its evidence the one of its time."""
        shown = [episode for episode in episodes if episode.ids & one.ids]
        in_time = [episode for episode in shown if one.covers(episode.raised.at)]
        # A clock that stood is no silence: then the alert that follows is of another one.
        return next(iter(in_time or ([] if one.rule == SILENT else shown)), None)

    def _told_of(self, one: Condition, episode: Episode, *, must: bool) -> None:
        """A condition that was told: at its time, with its evidence, in its priority, and to its end."""
        raised, end = episode.raised, episode.end
        if raised.alert["transition"] != "raised":
            self._say(Kind.LOST, f"the raise before {raised}", Lost.NOT_SENT)
        if one.rule == SILENT and self._slack:
            # Silence counts from when the clock ran again, if the broker was away meanwhile.
            self._timed(raised, max(one.at, raised.at) if one.covers(raised.at) else one.at, exact=True)
        else:
            self._timed(raised, one.at, exact=one.due is not None)
        if one.due is None:
            self._measured(one.known, raised)
        if missing := one.ids - episode.ids:
            self._say(Kind.LOST, f"{sorted(missing)} in the evidence of {raised}", Lost.NO_EFFECT)
        self._prioritised(one, episode)
        self._ended(one, end, must=must)

    def _prioritised(self, one: Condition, episode: Episode) -> None:
        if one.rule in _PRIORITISED:
            if one.severe and not episode.highest:
                self._say(Kind.LOST, f"the highest priority of {episode.raised}", Lost.NO_EFFECT)
            elif episode.highest and not one.severe and not one.may_be_severe:
                self._say(Kind.EXTRA, f"the highest priority of {episode.raised}")

    def _ended(self, one: Condition, end: Transition | None, *, must: bool) -> None:
        if end is None and one.ended_at is not None:
            if must:
                self._lost(one, one.ended or one.known, " or ".join(sorted(one.ends)), set(one.ends))
        elif end is not None and one.ended_at is None:
            self._say(Kind.EXTRA, f"{end}: it still holds")
        elif end is not None and one.ended_at is not None:
            if end.alert["transition"] not in one.ends:
                self._say(Kind.EXTRA, f"{end}: should be {' or '.join(sorted(one.ends))}")
            self._timed(end, one.ended_at, exact=one.ended is None, leeway=one.leeway)
            if one.ended is not None:
                self._measured(one.ended, end)

    def _lost(self, one: Condition, record: Record, what: str, statuses: set[str]) -> None:
        place = where_lost(self._logs, record, one.subject, one.rule, one.ids, statuses)
        due = f", due at {one.due or one.ended_at:%H:%M:%S}" if one.due or (one.ended_at and not one.ended) else ""
        text = f"{one.rule} of {one.subject} {sorted(one.ids)} {what}, by {_where(record)}{due}"
        self._say(Kind.LOST, text, place)

    def _timed(
        self, transition: Transition, moment: datetime, *, exact: bool, leeway: timedelta = timedelta(0)
    ) -> None:
        latest = moment + (_EXACT if exact else self._slack) + leeway
        if not exact:
            self._said.furthest = max(self._said.furthest, (transition.at - moment).total_seconds())
        if not moment - _EXACT <= transition.at <= latest:
            late = (transition.at - moment).total_seconds()
            self._say(Kind.TIME, f"{transition}: {late:+.3f} s from {moment:%H:%M:%S.%f}")

    def _measured(self, record: Record, transition: Transition) -> None:
        sent = self._sent.get((record.topic, record.key, record.value, record.stamp))
        seen = self._logs.seen.get(transition.record.place)
        if seen is not None and sent is not None and sent.acknowledged is not None:
            self._said.latencies.append((seen, seen - sent.acknowledged))

    def _clusters(self, found: Findings) -> None:
        """R25: two patients of a loop; what the alert shows comes and goes, that it is there and open does not."""
        told = {e.raised.alert["water_loop_id"]: e for e in self._told.episodes() if e.raised.alert["rule"] == CLUSTER}
        for loop, patients in found.loops.items():
            if len(patients) < 2:
                continue
            self._said.must += 1
            if loop not in told:
                self._say(Kind.LOST, f"{CLUSTER} of {loop} with {sorted(patients)}", self._cluster_lost(loop))
        for loop, episode in told.items():
            shown = {item["value"] for one in episode.transitions for item in one.alert["evidence"]}
            if loop not in found.loops or len(found.loops[loop]) < 2 or not shown <= found.loops[loop]:
                self._say(Kind.EXTRA, f"{episode.raised}: {sorted(shown)}")

    def _cluster_lost(self, loop: str) -> Lost:
        """Its input is made by the worker itself, of alerts that may be lost themselves."""
        behind = any(
            self._logs.committed.get(tp, 0) < end for tp, end in self._logs.ends.items() if tp[0] == "unit-signals"
        )
        alerts = self._logs.stored.get(loop, {}).get("alerts")
        return Lost.NOT_CONSUMED if behind else Lost.NOT_SENT if alerts else Lost.NO_EFFECT

    # -- what became of garbage

    def _dead_letters(self) -> None:
        letters: dict[tuple[str, int, int], set[str]] = defaultdict(set)
        for letter in self._logs.dead:
            headers = {name: (value or b"").decode() for name, value in letter.headers}
            topic = next((t for t, _ in self._logs.ends if headers["dl_topic"].endswith(t)), headers["dl_topic"])
            place = (topic, int(headers["dl_partition"]), int(headers["dl_offset"]))
            letters[place].add(headers["dl_reason"])
        for sent in self._logs.sent:
            for plant in sent.plants:
                if plant.reason:
                    for record in self._by_identity[sent.identity]:
                        self._dead(record, plant.reason, letters.pop(record.place, set()))
        for place, reasons in letters.items():
            self._say(Kind.EXTRA, f"dead letter of {place}: {', '.join(sorted(reasons))}")

    def _dead(self, record: Record, wanted: str, reasons: set[str]) -> None:
        if not reasons:
            behind = self._logs.committed.get((record.topic, record.partition), 0) <= record.offset
            place = Lost.NOT_CONSUMED if behind else Lost.NO_EFFECT
            self._say(Kind.LOST, f"dead letter of {_where(record)}: {wanted}", place)
        elif reasons != {wanted}:
            self._say(Kind.EXTRA, f"dead letter of {_where(record)}: {', '.join(sorted(reasons))}, not {wanted}")

    # -- the form of it

    def _form(self) -> None:
        """Repeats are the same bytes, revisions have no gap, headers say what the value says, all of it was read."""
        for (alert, revision), forms in self._told.forms.items():
            if len(forms) > 1:
                places = ", ".join(_where(record) for record in forms.values())
                self._say(Kind.DIFFERING, f"{alert}:{revision} in {len(forms)} forms: {places}")
        for transitions in self._told.alerts.values():
            revisions = [one.alert["revision"] for one in transitions]
            if revisions != list(range(1, len(revisions) + 1)):
                self._say(Kind.GAP, f"{transitions[0]} has revisions {revisions}", Lost.NOT_SENT)
            for one in transitions:
                self._headed(one)
                if one.record.place not in self._logs.seen:
                    self._say(Kind.LOST, str(one), Lost.NOT_READ)

    def _headed(self, one: Transition) -> None:
        headers = dict(one.record.headers)
        wanted = {
            "ce_id": f"{one.alert['alert_id']}:{one.alert['revision']}",
            "ce_type": f"dialysis.alert.{one.alert['transition']}",
        }
        if any(headers.get(name) != value.encode() for name, value in wanted.items()):
            self._say(Kind.DIFFERING, f"{one}: its headers say {headers}")

    def _picture(self) -> None:
        """Who reads `alerts.active` and never goes back in revision has the alerts that are open, and no other."""
        newest: dict[str, int] = {}
        shown: dict[str, int] = {}
        for record in self._logs.active:
            name, alert = (record.key or b"").decode(), record.body
            if alert is None:
                if name in shown:
                    self._say(Kind.PICTURE, f"{_where(record)} removes {name} while it is shown as open")
                shown.pop(name, None)
            elif alert["revision"] >= newest.get(name, 0):
                newest[name] = alert["revision"]
                shown.pop(name, None)
                if alert["status"] in OPEN:
                    shown[name] = alert["revision"]
        wanted = self._told.open()
        for name in sorted(wanted.keys() | shown.keys()):
            if wanted.get(name) != shown.get(name):
                text = f"{name} is open at revision {wanted.get(name)}, alerts.active shows {shown.get(name)}"
                self._say(Kind.PICTURE, text)

    def _offsets(self) -> None:
        for tp, end in self._logs.ends.items():
            if self._logs.committed.get(tp, 0) != end:
                self._say(Kind.OFFSETS, f"{tp[0]}[{tp[1]}] ends at {end}, committed {self._logs.committed.get(tp)}")


def _where(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def _shown(stamp: int) -> str:
    return f"{datetime.fromtimestamp(stamp / 1000).astimezone():%H:%M:%S}"
