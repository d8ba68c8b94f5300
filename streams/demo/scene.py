"""One moment of the demo, as both ways of showing it need it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from models.settings import Settings
from streams.demo.gauges import Gauges
from streams.demo.screen_state import Picture


@dataclass(slots=True)
class Scene:
    """What there is to see.

    Attributes:
        settings: Where everything answers.
        folder: Where logs and commands lie.
        begin: Where the simulated past begins.
        start: Where it ends and the live unit begins.
        live: Whether the worker has worked off the past.
    """

    settings: Settings
    folder: Path
    begin: datetime
    start: datetime
    picture: Picture = field(default_factory=Picture)
    gauges: Gauges = field(default_factory=Gauges)
    live: bool = False

    def progress(self) -> float:
        """The share of the past that the worker has worked off."""
        if self.gauges.clock is None:
            return 0.0
        done = datetime.fromtimestamp(self.gauges.clock, UTC) - self.begin
        return min(1.0, max(0.0, done / (self.start - self.begin)))
