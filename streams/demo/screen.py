"""The demo on a terminal: the whole view is redrawn several times a second."""

from datetime import datetime
from typing import Self

from rich.console import Console
from rich.live import Live

from models.alerts import Alert
from streams.demo.scene import Scene
from streams.demo.view import draw


class Screen:
    """Uses the terminal's alternate screen and restores the first one at the end."""

    def __init__(self, scene: Scene, console: Console) -> None:
        self._scene = scene
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def transition(self, alert: Alert) -> None:
        """Do nothing: the screen state holds the transition."""

    def show(self, now: datetime) -> None:
        """Draw at the terminal's present size, so that the view grows with the terminal."""
        width, height = self._console.size
        self._live.update(draw(self._scene, width, height, now), refresh=True)

    def went_live(self) -> None:
        """Do nothing: the view itself shows that the past is processed."""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
