"""The event stream of a browser: changes as they come, a status every 2 s, and `reload` where something was missed.

No browser has a queue: each reads the common ring at its own pace. One that does not take what it is sent is dropped;
it connects again and is told what it missed, or to reload.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import hdrs, web

from streams.board.visitors import COOKIE
from streams.board.web_context import Context, context
from streams.board.web_guard import problem

#: Streams that are open at once.
STREAMS: Final = 300
#: How often a status is sent, and how long a browser may take for what it is sent, in seconds.
STATUS_S: Final = 2.0
SLOW_S: Final = 10.0
#: How long a browser waits before it connects again, in milliseconds.
_RETRY_MS: Final = 1000
#: From so many bytes that a browser has not taken on, sending waits for it.
_UNTAKEN_BYTES: Final = 256 * 1024
_encode: Final = msgspec.json.Encoder().encode


async def events(request: web.Request) -> web.StreamResponse:
    """Follow what changes, until either side ends it."""
    shared = context(request)
    gauge, transport = shared.board.metrics.streams, request.transport
    if len(shared.streams) >= STREAMS or transport is None:
        return problem(503, "Too many screens follow the events: close some, or try again.")
    if isinstance(transport, asyncio.WriteTransport):
        transport.set_write_buffer_limits(high=_UNTAKEN_BYTES)
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"})
    shared.streams.add(transport)
    gauge.set(len(shared.streams))
    try:
        await response.prepare(request)
        await _follow(request, response, shared)
    except TimeoutError:
        shared.board.metrics.dropped_streams.inc()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
    except ConnectionError:
        pass
    finally:
        shared.streams.discard(transport)
        gauge.set(len(shared.streams))
    return response


async def _follow(request: web.Request, response: web.StreamResponse, shared: Context) -> None:
    feed, loop = shared.board.feed, asyncio.get_running_loop()
    position = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    await _send(response, f"retry: {_RETRY_MS}\n\n".encode())
    due = 0.0
    while True:
        changes = feed.after(position)
        if changes is None:
            position = feed.event_id
            await _send(response, _event("reload", b"{}", position))
        elif changes:
            position = changes[-1][0]
            await _send(response, b"".join(_event("change", data, event_id) for event_id, data in changes))
        if loop.time() >= due:
            if not _still_known(request, shared):
                return
            due = loop.time() + STATUS_S
            await _send(response, _event("status", _encode(shared.board.status()), position))
        await feed.moved(position, max(0.0, due - loop.time()))


def _still_known(request: web.Request, shared: Context) -> bool:
    """Return whether who follows may still do so: a session ends, a user is taken out."""
    cookie = request.cookies.get(COOKIE)
    return shared.visitors.recognise(request.remote, request.headers, cookie) is not None


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Send bytes.

    Raises:
        TimeoutError: The browser does not take them.
    """
    async with asyncio.timeout(SLOW_S):
        await response.write(data)


def _event(kind: str, data: bytes, event_id: str) -> bytes:
    """Return an event. The data is JSON without line breaks, so it is one line."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), kind.encode(), data)
