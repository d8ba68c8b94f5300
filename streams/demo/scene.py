"""The state of the demo, which both displays share."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from models.settings import Settings
from streams.demo.gauges import Gauges
from streams.demo.screen_state import ScreenState


@dataclass(slots=True)
class Scene:
    """What the demo shows.

    Attributes:
        settings: With the addresses of broker and worker.
        folder: The folder of logs and commands.
        begin: Where the simulated past begins.
        start: Where it ends and the live unit begins.
        live: Whether the worker has processed the past.
        board: The address of the unit screen, if there is one.
    """

    settings: Settings
    folder: Path
    begin: datetime
    start: datetime
    screen_state: ScreenState = field(default_factory=ScreenState)
    gauges: Gauges = field(default_factory=Gauges)
    live: bool = False
    board: str | None = None

    def progress(self) -> float:
        """Return the share of the past that the worker has processed."""
        if self.gauges.clock is None:
            return 0.0
        done = datetime.fromtimestamp(self.gauges.clock, UTC) - self.begin
        return min(1.0, max(0.0, done / (self.start - self.begin)))
