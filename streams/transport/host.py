"""The parts of the app that Faust's components use, so that they need not import it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from models.settings import Settings
from streams.transport.api import TP
from streams.transport.changelog import Stamp
from streams.transport.ownership import Attached


class ConsumerHost(Protocol):
    """The app, as the consumer and the producer use it."""

    settings: Settings
    flow_control: Any

    @property
    def crashed(self) -> bool: ...  # noqa: D102
    @property
    def should_stop(self) -> bool: ...  # noqa: D102
    @property
    def consumer_generation_id(self) -> int: ...  # noqa: D102
    @property
    def heartbeat_at(self) -> float | None: ...  # noqa: D102
    async def revoke_listeners(self) -> None: ...  # noqa: D102


class Flow(Protocol):
    """The consumer, as the recovery uses it: it stops the flow, finds the positions, and resumes the flow."""

    def interrupt(self) -> None: ...  # noqa: D102
    def assignment(self) -> Iterable[Any]: ...  # noqa: D102
    async def begin(self, tps: Iterable[TP]) -> None: ...  # noqa: D102
    def resume_flow(self) -> None: ...  # noqa: D102


class RecoveryHost(Protocol):
    """The app, as the recovery uses it."""

    settings: Settings
    attached: list[Attached]
    recovering: Mapping[str, set[int]]
    recovery_seconds: float | None
    flow_control: Any
    tables: Any
    on_rebalance_complete: Any
    _fetcher: Any

    @property
    def batch_consumer(self) -> Flow: ...  # noqa: D102
    def claim(self, attached: Attached, generation: int, latest: Mapping[int, tuple[Stamp, int]]) -> None: ...  # noqa: D102
    def on_rebalance_end(self) -> None: ...  # noqa: D102


class FetchOwner(Protocol):
    """The consumer, as its thread uses it: a fetch of another epoch or turn is stale."""

    app: ConsumerHost
    epoch: int
    turn: int
