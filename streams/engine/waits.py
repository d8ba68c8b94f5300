"""What a partition asks of whatever lets events wait."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from streams.engine.change import Change


class Waits:
    """Events that may wait before they are filed (streams.engine.waiting_samples); of this class, none."""

    def take(self, subject: str, event: Any, arrived: float) -> Change | None:
        """Let an event wait that arrived at a Unix time; return the change, or None if it must be filed at once."""

    def begin(self, state: Any, event: Any, received_at: datetime) -> None:
        """Let events after this one wait, which was filed just now."""

    def resume(self, state: Any) -> None:
        """Let events of a subject wait again that another kind of event stopped, if nothing has changed for them."""

    def stop(self, subject: str) -> None:
        """File what waits of a subject; its next event is filed at once."""

    def settle(self, subject: str) -> None:
        """File what waits of a subject, before it is read or stored; its next events may wait again."""

    def settle_all(self) -> None:
        """File all that waits."""


NOTHING_WAITS: Final = Waits()
