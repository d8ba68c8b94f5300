"""Find a broker that answers: one that accepts connections and stays silent must not delay a start.

aiokafka asks the bootstrap servers one after the other and gives each the whole request timeout, twice: to connect and
to report its versions. A group needs a timeout of 15 s and more, because joining is one long request.
"""

# ruff: noqa: SLF001 - replaces a method of aiokafka; tests/contract names what it uses.

from __future__ import annotations

from typing import Any, Final

import aiokafka.client
from aiokafka.errors import KafkaConnectionError

#: How long a server may take to answer while another one can be asked.
IMPATIENT_MS: Final = 2000

_Client: Final[Any] = aiokafka.client.AIOKafkaClient
_bootstrap: Final[Any] = _Client.bootstrap
#: Servers that did not answer in time the last time: they are asked last.
_silent: Final[set[tuple[str, int]]] = set()


async def bootstrap(client: Any) -> None:
    """Learn the cluster from the first server that answers.

    Each server has `IMPATIENT_MS`; those that were silent before come last. If none answers, all are asked again with
    the client's own timeout.

    Raises:
        KafkaConnectionError: None of them answers.
    """
    hosts = sorted(client.hosts, key=lambda host: host[:2] in _silent)
    servers, patience = client._bootstrap_servers, client._request_timeout_ms
    if len(hosts) > 1:
        try:
            client._request_timeout_ms = min(patience, IMPATIENT_MS)
            for host, port, _ in hosts:
                client._bootstrap_servers = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
                try:
                    await _bootstrap(client)
                except KafkaConnectionError:
                    _silent.add((host, port))
                else:
                    _silent.discard((host, port))
                    return
        finally:
            client._bootstrap_servers, client._request_timeout_ms = servers, patience
    await _bootstrap(client)


def install() -> None:
    """Let every client of this process start in this way."""
    _Client.bootstrap = bootstrap
