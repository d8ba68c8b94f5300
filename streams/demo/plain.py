"""The demo without a terminal: a line for each transition, and a status line now and then."""

from datetime import datetime, timedelta
from typing import Final

from models.alerts import Alert, Reason
from models.text import printable
from streams.demo import hints, wording
from streams.demo.scene import Scene

#: The time between two status lines.
_EVERY: Final = timedelta(seconds=10)
_EVERY_BEFORE: Final = timedelta(seconds=2)
#: Reasons that the transition itself implies.
_PLAIN_REASONS: Final = (Reason.CONDITION_MET, Reason.CONDITION_CLEARED, Reason.ACKNOWLEDGED)


class Plain:
    """Prints lines and flushes each, because somebody may wait for one."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._due: datetime | None = None
        self._was_blind = False
        self._waiting: list[Alert] = []

    def transition(self, alert: Alert) -> None:
        """Print a transition, except one of the past: those come all at once and are only counted."""
        if alert.at < self._scene.start:
            return
        place = wording.place(alert, wording.chairs_by_patient(self._scene))
        why = "" if alert.reason in _PLAIN_REASONS else f" ({alert.reason})"
        _line(
            f"{wording.clock(alert.at)} {alert.transition:12} {alert.priority:6} {place:6} "
            f"{alert.rule}: {alert.summary}{why}"
        )

    def show(self, now: datetime) -> None:
        """Print a status line when it is due, or when the worker falls silent or returns."""
        scene = self._scene
        blind = wording.blindness(scene, now) is not None
        if self._due is not None and now < self._due and blind == self._was_blind:
            return
        self._due, self._was_blind = now + (_EVERY if scene.live else _EVERY_BEFORE), blind
        said = [wording.worker(scene, now)]
        if scene.live:
            said = [wording.rate(scene), wording.latency(scene), wording.open_alerts(scene), *said]
        _line(f"{wording.clock(now)} -- {'; '.join(said)}")

    def went_live(self) -> None:
        """Print that the past is processed, and the hints."""
        self._due = None
        _line("The past is worked off, the unit is live. Next, in another terminal (Ctrl-C here stops everything):")
        for hint in hints.long_hints(self._scene.settings, self._scene.folder):
            _line(f"  {hint.purpose}: {hint.command}")

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _line(text: str) -> None:
    print(printable(text), flush=True)
