"""A bootstrap server that accepts and says nothing does not hold up a start."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.transport import bootstrap as bootstrap_module
from streams.transport.bootstrap import IMPATIENT_MS, bootstrap


class Client:
    """An `AIOKafkaClient` and the servers that it can reach."""

    _request_timeout_ms = 15_000

    def __init__(self, servers: list[str], answering: set[str]) -> None:
        self._bootstrap_servers, self.answering = servers, answering
        self.asked: list[tuple[list[str], int]] = []

    @property
    def hosts(self) -> list[tuple[str, int, int]]:
        found = [server.rpartition(":") for server in self._bootstrap_servers]
        return [(host.strip("[]"), int(port), 0) for host, _, port in found]


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(client: Any) -> None:
        client.asked.append((client._bootstrap_servers, client._request_timeout_ms))
        if not set(client._bootstrap_servers) & client.answering:
            raise KafkaConnectionError

    monkeypatch.setattr(bootstrap_module, "_bootstrap", ask)
    monkeypatch.setattr(bootstrap_module, "_silent", set())


async def test_the_next_server_is_asked_soon_and_the_silent_one_last_from_then_on() -> None:
    first = Client(["a:1", "[::1]:2"], {"[::1]:2"})
    await bootstrap(first)
    assert first.asked == [(["a:1"], IMPATIENT_MS), (["[::1]:2"], IMPATIENT_MS)]
    assert (first._bootstrap_servers, first._request_timeout_ms) == (["a:1", "[::1]:2"], 15_000)
    second = Client(["a:1", "[::1]:2"], {"[::1]:2"})
    await bootstrap(second)
    assert second.asked == [(["[::1]:2"], IMPATIENT_MS)]


async def test_servers_that_are_slow_all_of_them_are_asked_with_patience() -> None:
    client = Client(["a:1", "b:2"], set())
    with pytest.raises(KafkaConnectionError):
        await bootstrap(client)
    assert client.asked[-1] == (["a:1", "b:2"], 15_000)
    assert (client._bootstrap_servers, client._request_timeout_ms) == (["a:1", "b:2"], 15_000)


async def test_the_only_server_is_asked_with_patience() -> None:
    client = Client(["a:1"], {"a:1"})
    await bootstrap(client)
    assert client.asked == [(["a:1"], 15_000)]


def test_every_client_starts_like_this() -> None:
    import aiokafka.client  # noqa: PLC0415

    import streams.kafka.clients  # noqa: F401, PLC0415

    assert aiokafka.client.AIOKafkaClient.bootstrap is bootstrap
