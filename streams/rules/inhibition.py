"""Pairs of rules of which the lesser gives way to the greater: one episode, one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.alerts import Priority


@dataclass(frozen=True, slots=True)
class Inhibition:
    """An alert of a greater rule lowers those of the rule that declares this, or holds them back, while it is open.

    Alerts of priority high are never touched.

    Attributes:
        by: the greater rule.
        why: the reason, as a sentence for people.
        lower_by: by how many priorities it lowers.
        holds_back: it keeps new ones from being raised at all; those that are open are lowered.
        least: it does so while its own priority is at least this.
        applies: whether a condition of the lesser rule yields to one of the greater, by their keys; None for all.
    """

    by: str
    why: str
    lower_by: int = 1
    holds_back: bool = False
    least: Priority = Priority.INFO
    applies: Callable[[str, str], bool] | None = None

    def is_about(self, lesser: str, greater: str) -> bool:
        """Return whether the lesser rule's condition of one key yields to the greater rule's of another."""
        return self.applies is None or self.applies(lesser, greater)
