"""The worker's HTTP server: `/metrics`, `/healthz`, `/readyz`, and nothing about any patient.

Kafka comes first. Few connections are open at once, each for one request and a short time; descriptors are reserved for
Kafka; however many clients request `/metrics`, rendering takes a bounded share of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, cast

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.worker.health import Check, Health

log = logging.getLogger(__name__)

#: Connections open at once. One more closes the oldest.
CONNECTIONS: Final = 16
#: How long a connection may live, in seconds: its one request, header and body, and the answer.
LIFETIME_S: Final = 5.0
#: Descriptors that HTTP leaves free: a rebalance and a broker's return need them.
RESERVE: Final = 16
#: How long, in seconds, nothing is accepted after the system refused a connection, as without a free descriptor.
_NO_DESCRIPTOR_S: Final = 1.0
#: A page is served for this many times as long as it took to render.
PAGE_LASTS: Final = 10
#: Formats of the metrics kept at once; a client chooses one of a few.
_FORMATS: Final = 4
_BACKLOG: Final = 64


class AddressError(Exception):
    """The server cannot listen on the address; the message is one sentence for the person who chose it."""


def raise_descriptor_limit() -> None:
    """Let this process open as many descriptors as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems refuse the limit that they state
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def highest_descriptor() -> int:
    """Return the highest descriptor that HTTP may use; the system gives the lowest free one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft - RESERVE


class HttpServer:
    """Serves metrics and health on the running event loop, between `start` and `stop`.

    Use it as an async context manager, or call both.
    """

    def __init__(self, address: tuple[str, int], health: Health, registry: CollectorRegistry) -> None:
        host, self._port = address
        self._host = host.strip("[]")
        self._runner = web.AppRunner(
            application(health, registry), access_log=None, shutdown_timeout=1.0, handler_cancellation=True
        )
        self._door: Door | None = None

    @property
    def port(self) -> int:
        """The port it listens on; the kernel chooses it for port 0."""
        return self._port

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._door.connections if self._door is not None else 0

    async def start(self) -> None:
        """Start to listen.

        Raises:
            AddressError: The port is taken, or the host is not ours.
        """
        await self._runner.setup()
        try:
            listener = await _listen(self._host, self._port)
        except OSError as error:
            await self._runner.cleanup()
            raise AddressError(self._sentence(error)) from None
        self._port = listener.getsockname()[1]
        self._door = Door(listener, cast("Callable[[], Any]", self._runner.server))

    async def stop(self) -> None:
        """Close the port; do nothing where it was not opened."""
        if self._door is not None:
            self._door.close()
            self._door = None
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _sentence(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            why = "the port is in use by another program"
        elif error.errno == errno.EACCES:
            why = "this user may not use the port"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = "this machine has no such address"
        else:
            why = error.strerror or str(error)
        return f"Cannot serve HTTP on {self._host}:{self._port}: {why}; set DIALYSIS_HTTP to another host:port."


async def _listen(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class Door:
    """Accepts connections, one at each turn of the event loop, and ends them.

    asyncio's own server accepts every connection, keeps it for ever, and logs a hundred errors at a time while the
    process has no descriptor left.

    Args:
        listener: a listening socket; the door closes it.
        factory: makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, factory: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._factory = factory
        self._highest = highest_descriptor()
        #: The open connections, the oldest first, each with the task that ends it.
        self._open: dict[socket.socket, asyncio.Task[None]] = {}
        self._again: asyncio.TimerHandle | None = None
        self._loop.add_reader(listener, self._accept)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def close(self) -> None:
        """Stop accepting, and end the open connections."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._open.values():
            task.cancel()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            log.warning("HTTP: cannot accept a connection (%s), trying again in 1 s", error.strerror)
            self._loop.remove_reader(self._listener)
            self._again = self._loop.call_later(_NO_DESCRIPTOR_S, self._open_again)
            return
        if connection.fileno() > self._highest:
            log.warning("HTTP: a connection was refused: the last %d descriptors are kept for Kafka", RESERVE)
            connection.close()
            return
        if len(self._open) >= CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).cancel()
        connection.settimeout(0)
        self._open[connection] = self._loop.create_task(self._serve(connection), name="HTTP connection")

    def _open_again(self) -> None:
        self._again = None
        self._loop.add_reader(self._listener, self._accept)

    async def _serve(self, connection: socket.socket) -> None:
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(LIFETIME_S):
                transport, protocol = await self._loop.connect_accepted_socket(
                    lambda: _Connection(self._factory()), connection
                )
                await protocol.lost
        except (TimeoutError, OSError):
            pass
        finally:
            self._open.pop(connection, None)
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            else:
                connection.close()


class _Connection(asyncio.Protocol):
    """Passes all calls on to a protocol, and notes when the connection is lost."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Pass on received bytes."""
        self._inner.data_received(data)

    def eof_received(self) -> None:
        """Pass on that the other side sends no more."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the other side does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the other side reads again."""
        self._inner.resume_writing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass on that the connection is open."""
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is closed, and note it."""
        self._inner.connection_lost(exc)
        if not self.lost.done():
            self.lost.set_result(None)


class Page:
    """The metrics as text, rendered once for requests at about the same time.

    A rendered page is served for `PAGE_LASTS` times as long as it took to render. So rendering takes at most a tenth of
    the event loop, and a client that asks rarely gets a new page.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        self._registry = registry
        self._clock = clock
        self._made: dict[str, tuple[float, bytes]] = {}

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text for an `Accept` header."""
        encode, kind = choose_encoder(accept)
        began = self._clock()
        until, text = self._made.get(kind, (began, b""))
        if began >= until:
            if len(self._made) >= _FORMATS:
                self._made.clear()
            text = encode(self._registry)
            ended = self._clock()
            self._made[kind] = (ended + (ended - began) * PAGE_LASTS, text)
        return kind, text


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """Build the three routes; each answer ends its connection."""
    page = Page(registry)

    async def metrics(request: web.Request) -> web.Response:
        kind, text = page.render(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=text, headers={"Content-Type": kind})

    app = web.Application(middlewares=[_last])
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", _answer(health.alive))
    app.router.add_get("/readyz", _answer(health.ready))
    return app


@web.middleware
async def _last(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.StreamResponse:
    """Allow one request a connection: a client that stays would take the place of others."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as refusal:
        refusal.force_close()
        raise
    response.force_close()
    return response


def _answer(checks: Callable[[], list[Check]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_request: web.Request) -> web.Response:
        found = checks()
        ok = all(check.ok for check in found)
        body = {
            "status": "ok" if ok else "failing",
            "checks": {check.name: {"ok": check.ok, "why": check.why} for check in found},
        }
        headers = {"Cache-Control": "no-store"}
        return web.json_response(body, status=200 if ok else 503, headers=headers)

    return handle
