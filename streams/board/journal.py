"""The story of each alert: its transitions as they came, and who answered it. Pure and bounded.

Transitions come from `alerts.active` and from the alert topics of the last 24 h, answers from the topics on which
people's answers are sent; so a screen that was started again tells the same story. A transition that comes twice is
one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from models.alerts import Priority, Reason, Status, Transition
from models.events import ResponseAction
from streams.board.alarm_load import AlarmLoad
from streams.board.foreign_records import GivenAnswer, ShownAlert

#: How many stories are kept, the least recently changed go first; and how long each is.
_MOST_STORIES: Final = 20_000
_MOST_STEPS: Final = 40
_MOST_ANSWERS: Final = 10
_ANSWERED: Final = (Status.ACKNOWLEDGED, Status.SNOOZED)
#: The action of a person that a reason tells of.
_ACTIONS: Final[dict[str, ResponseAction]] = {
    Reason.ACKNOWLEDGED: ResponseAction.ACKNOWLEDGE,
    Reason.UNACKNOWLEDGED_BY_PERSON: ResponseAction.UNACKNOWLEDGE,
    Reason.SNOOZED: ResponseAction.SNOOZE,
    Reason.RESOLVED_BY_PERSON: ResponseAction.RESOLVE,
}
_PAGING: Final = (Transition.RAISED, Transition.ESCALATED)


@dataclass(frozen=True, slots=True)
class Moment:
    """One transition of an alert."""

    revision: int
    at: datetime
    status: Status
    transition: str
    reason: str
    priority: Priority


@dataclass(slots=True)
class Story:
    """An alert's transitions by revision, and the answers to it, oldest first."""

    moments: dict[int, Moment] = field(default_factory=dict)
    answers: deque[GivenAnswer] = field(default_factory=lambda: deque(maxlen=_MOST_ANSWERS))
    #: Somebody has looked at it after it ended.
    is_seen: bool = False
    counted_wait: bool = False
    counted_unanswered: datetime | None = None

    def ordered(self) -> list[Moment]:
        """Return the transitions in order."""
        return [self.moments[revision] for revision in sorted(self.moments)]

    def episode(self) -> list[Moment]:
        """Return the transitions since it was last raised, as far as they are known."""
        found = self.ordered()
        starts = [index for index, moment in enumerate(found) if moment.transition == Transition.RAISED]
        return found[starts[-1] :] if starts else found

    def is_answered(self) -> bool:
        """Whether somebody answered in this episode."""
        return any(
            moment.status in _ANSWERED or moment.reason == Reason.RESOLVED_BY_PERSON for moment in self.episode()
        )

    def acknowledged(self) -> Moment | None:
        """Return the newest transition that acknowledged or snoozed it in this episode."""
        given = [moment for moment in self.episode() if moment.reason in (Reason.ACKNOWLEDGED, Reason.SNOOZED)]
        return given[-1] if given else None

    def answer_of(self, moment: Moment) -> GivenAnswer | None:
        """Return the person's answer that made a transition: the nearest in time of its kind."""
        action = _ACTIONS.get(moment.reason)
        return min(
            (answer for answer in self.answers if answer.action == action),
            key=lambda answer: abs((answer.at - moment.at).total_seconds()),
            default=None,
        )

    def told(self) -> list[dict[str, Any]]:
        """Return the timeline as the interface names it, oldest first."""
        lines = []
        for moment in self.ordered():
            answer = self.answer_of(moment)
            lines.append(
                {
                    "at": moment.at.isoformat(),
                    "status": moment.status.value,
                    "transition": moment.transition,
                    "priority": moment.priority.value,
                    "revision": moment.revision,
                    "by": answer.by if answer else None,
                    "reason": moment.reason,
                    "note": answer.reason if answer else None,
                }
            )
        return lines


class Journal:
    """The stories, and the alarm load that they make."""

    def __init__(self) -> None:
        self.load = AlarmLoad()
        self._stories: OrderedDict[str, Story] = OrderedDict()

    def story(self, alert_id: str) -> Story:
        """Return the story of an alert; an empty one if nothing is known."""
        return self._stories.get(alert_id) or Story()

    def take(self, alert: ShownAlert, now: datetime) -> bool:
        """Take a transition; return whether it was new."""
        story = self._open(alert.alert_id)
        if alert.revision in story.moments or (
            len(story.moments) >= _MOST_STEPS and alert.revision < min(story.moments)
        ):
            return False
        moment = Moment(alert.revision, alert.at, alert.status, alert.transition, alert.reason, alert.priority)
        story.moments[alert.revision] = moment
        if len(story.moments) > _MOST_STEPS:
            del story.moments[min(story.moments)]
        self._count(story, moment, alert, now)
        return True

    def answered(self, answer: GivenAnswer) -> bool:
        """Take a person's answer; return whether it was new."""
        story = self._open(answer.alert_id.lower())
        if answer in story.answers:
            return False
        story.answers.append(answer)
        return True

    def seen(self, alert_id: str) -> bool:
        """Note that somebody looked at an alert that is over; return whether that is new."""
        story = self._open(alert_id)
        was, story.is_seen = story.is_seen, True
        return not was

    def _open(self, alert_id: str) -> Story:
        story = self._stories.setdefault(alert_id, Story())
        self._stories.move_to_end(alert_id)
        while len(self._stories) > _MOST_STORIES:
            self._stories.popitem(last=False)
        return story

    def _count(self, story: Story, moment: Moment, alert: ShownAlert, now: datetime) -> None:
        at = moment.at
        if moment.transition == Transition.RAISED:
            chair = (alert.unit_id or "", alert.chair) if alert.chair else None
            self.load.raised(at, now, alert.rule, alert.priority, chair)
            if moment.revision == max(story.moments):  # a new episode: what was counted of the last one stays
                story.is_seen, story.counted_wait, story.counted_unanswered = False, False, None
        if moment.transition in _PAGING:
            self.load.paged(at, now, alert.priority)
        if alert.session_id is not None:
            self.load.session(alert.session_id, at)
        self._count_unanswered(story, now)
        self._count_wait(story, now)

    def _count_unanswered(self, story: Story, now: datetime) -> None:
        newest, answered = story.moments[max(story.moments)], story.is_answered()
        if story.counted_unanswered is not None and answered:
            self.load.unanswered(story.counted_unanswered, now, -1)
            story.counted_unanswered = None
        elif story.counted_unanswered is None and not newest.status.is_open and not answered:
            story.counted_unanswered = newest.at
            self.load.unanswered(newest.at, now)

    def _count_wait(self, story: Story, now: datetime) -> None:
        episode = story.episode()
        first = next((moment for moment in episode if moment.status in _ANSWERED), None)
        if first is None or story.counted_wait or episode[0].transition != Transition.RAISED:
            return
        story.counted_wait = True
        self.load.answered(first.at, now, (first.at - episode[0].at).total_seconds())
