"""The HTTP server of the screen: bounded connections, and none that stays without carrying an event stream."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Final, Self, cast

from aiohttp import web

from streams.board.web_app import application
from streams.board.web_context import Context

#: Connections open at once. One more closes the oldest that carries no event stream.
CONNECTIONS: Final = 400
#: How long a connection without an event stream may live, in seconds; browsers open another one unseen.
LIFETIME_S: Final = 60.0
_SWEEP_S: Final = 2.0
_STOP_S: Final = 1.0


class BoardAddressError(Exception):
    """The screen cannot listen on the address; one sentence for the person who chose it."""


class BoardServer:
    """Serves the screen on the running event loop; use it as an async context manager."""

    def __init__(self, address: tuple[str, int], shared: Context) -> None:
        host, self._port = address
        self._host = host.strip("[]")
        self._shared = shared
        self._runner = web.AppRunner(
            application(shared), access_log=None, shutdown_timeout=_STOP_S, handler_cancellation=True
        )
        self._since: dict[Any, float] = {}
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; the kernel chooses it for port 0."""
        return self._port

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._web.connections)

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            BoardAddressError: The port is taken, or the host is not ours.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, self._host, self._port)
        except OSError as error:
            await self._runner.cleanup()
            raise BoardAddressError(self._sentence(error)) from None
        self._port = self._server.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep connections")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the port and all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        if self._server is not None:
            self._server.close()
        for handler in self._web.connections:
            _abort(handler)
        await self._runner.cleanup()

    @property
    def _web(self) -> web.Server:
        return cast("web.Server", self._runner.server)

    def _accept(self) -> asyncio.Protocol:
        handlers = self._web.connections
        if len(handlers) >= CONNECTIONS:
            self._shared.board.metrics.refused_connections.inc()
            oldest = next((each for each in handlers if each.transport not in self._shared.streams), None)
            if oldest is not None:
                _abort(oldest)
        return self._web()

    async def _sweep(self) -> None:
        """Close connections that live for too long, such as those whose request never comes to its end."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now, handlers = loop.time(), self._web.connections
            self._since = {handler: self._since.get(handler, now) for handler in handlers}
            for handler, since in self._since.items():
                if handler.transport in self._shared.streams:
                    continue
                if now - since > LIFETIME_S:
                    _abort(handler)

    def _sentence(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            why = "the port is in use by another program"
        elif error.errno == errno.EACCES:
            why = "this user may not use the port"
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            why = "this machine has no such address"
        else:
            why = error.strerror or str(error)
        return f"Cannot serve the screen on {self._host}:{self._port}: {why}; set DIALYSIS_BOARD_HTTP to another one."


def _abort(handler: Any) -> None:
    if handler.transport is not None:
        handler.transport.abort()
