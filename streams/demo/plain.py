"""The demo without a terminal: a line for each transition, a line now and then on how it goes."""

from datetime import datetime, timedelta
from typing import Final

from models.alerts import Alert, Reason
from models.text import printable
from streams.demo import hints, wording
from streams.demo.scene import Scene

#: Between two lines on how it goes.
_EVERY: Final = timedelta(seconds=10)
_EVERY_BEFORE: Final = timedelta(seconds=2)
#: Of these the transition says as much.
_PLAIN_REASONS: Final = (Reason.CONDITION_MET, Reason.CONDITION_CLEARED, Reason.ACKNOWLEDGED)


class Plain:
    """Prints lines; flushed, because somebody may wait for one."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._due: datetime | None = None
        self._was_blind = False
        self._waiting: list[Alert] = []

    def told(self, alert: Alert) -> None:
        """A transition. Those of the past are only counted: they come all at once."""
        if alert.at < self._scene.start:
            return
        place = wording.place(alert, wording.chairs_by_patient(self._scene))
        why = "" if alert.reason in _PLAIN_REASONS else f" ({alert.reason})"
        _line(
            f"{wording.clock(alert.at)} {alert.transition:12} {alert.priority:6} {place:6} "
            f"{alert.rule}: {alert.summary}{why}"
        )

    def show(self, now: datetime) -> None:
        """How it goes, when it is time to say so or the worker fell silent."""
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
        """The past is worked off."""
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
