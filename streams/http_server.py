"""The worker's HTTP server: `/metrics`, `/healthz`, `/readyz`, and nothing about any patient."""

import errno
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from streams.health import Check, Health


class AddressError(Exception):
    """The address cannot be listened on; the message is one sentence for the person who chose it."""


class HttpServer:
    """Serves metrics and health on the running event loop, between `start` and `stop`.

    Use it as an async context manager, or call both.
    """

    def __init__(self, address: tuple[str, int], health: Health, registry: CollectorRegistry) -> None:
        host, self._port = address
        self._host = host.strip("[]")
        self._runner = web.AppRunner(application(health, registry), access_log=None, shutdown_timeout=1.0)

    @property
    def port(self) -> int:
        """The port it listens on; the kernel's choice where port 0 was asked for."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            AddressError: The port is taken, or the host is not ours.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise AddressError(self._sentence(error)) from None

    async def stop(self) -> None:
        """Closes the port; does nothing where it was not opened."""
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


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """The three routes."""
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    app.router.add_get("/healthz", _answer(health.alive))
    app.router.add_get("/readyz", _answer(health.ready))
    return app


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
