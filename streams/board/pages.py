"""The pages: room, alert, alarm load, sign-in; and the static files."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from aiohttp import hdrs, web

from streams.board.board_metrics import product_version
from streams.board.user_file import NAME
from streams.board.visitors import COOKIE, TOKEN_S
from streams.board.web_context import NEW_COOKIE, VISITOR, context, filters_of, language_of, said, visitor_of
from streams.board.web_guard import FORGED, client_address, problem

log = logging.getLogger(__name__)

_LONGEST_PATH: Final = 2000
#: A password is checked on at most so many threads: each takes 64 MiB for a moment.
_checks: Final = asyncio.Semaphore(2)


def _page(request: web.Request, template: str, status: int = 200, **more: Any) -> web.Response:
    shared = context(request)
    visitor = request.get(VISITOR)
    language = language_of(request)
    values = {
        "t": shared.front.texts[language],
        "lang": language,
        "user": {"name": visitor.name, "role": visitor.role} if visitor else None,
        "can_sign_out": bool(visitor and visitor.can_sign_out),
        "csrf": shared.visitors.csrf(visitor.cookie) if visitor else "",
        "filters": filters_of(request).words,
        "zone": shared.board.site.zone,
        "version": product_version(),
        **more,
    }
    response = web.Response(text=shared.front.render(template, values), status=status, content_type="text/html")
    response.enable_compression()
    return response


async def room(request: web.Request) -> web.Response:
    """Answer with the room page and its state."""
    return _page(request, "room.html", state=context(request).board.room(filters_of(request)))


async def alert(request: web.Request) -> web.Response:
    """Answer with an alert's page. A responder who opens it has looked at it."""
    board, name = context(request).board, request.match_info["alert_id"].lower()
    if visitor_of(request).may_answer:
        board.looked(name)
    state = board.alert(name)
    if state is None:
        # The page of an alert that is no longer kept is the room: what is open stands there.
        return web.Response(status=303, headers={hdrs.LOCATION: "/"})
    return _page(request, "alert.html", state=state)


async def load(request: web.Request) -> web.Response:
    """Answer with the page of the alarm load."""
    return _page(request, "load.html", state=context(request).board.load())


async def static(request: web.Request) -> web.Response:
    """Answer with a file of the front end."""
    file = context(request).front.files.get(request.match_info["file"])
    if file is None:
        return problem(404, "There is no such file.")
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{file.etag}"', hdrs.CONTENT_TYPE: file.content_type}
    if f'"{file.etag}"' in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if file.packed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=file.packed, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=file.body, headers=headers)


async def sign_in_form(request: web.Request) -> web.Response:
    """Answer with the form to sign in."""
    return _form(request)


def _form(request: web.Request, status: int = 200, error: tuple[str, str] | None = None) -> web.Response:
    """Return the form: its token belongs to a cookie that is made for it."""
    shared = context(request)
    if not shared.visitors.has_sign_in:
        return web.Response(status=303, headers={hdrs.LOCATION: "/"})
    cookie = shared.visitors.stranger()
    request[NEW_COOKIE] = (cookie, TOKEN_S)
    told = said(request, *error) if error else None
    return _page(
        request,
        "sign_in.html",
        status,
        csrf=shared.visitors.csrf(cookie),
        error=told,
        next=_local_path(request.query.get("next")),
    )


async def sign_in(request: web.Request) -> web.Response:
    """Check name and password, and start a session."""
    shared, form = context(request), await request.post()
    name, password = str(form.get("user", "")), str(form.get("password", ""))
    cookie = request.cookies.get(COOKIE, "")
    address = client_address(request)
    if not _is_own(request, cookie, str(form.get("csrf", ""))):
        return _form(request, 403, ("sign_in_expired", "The form was open for too long. Try again."))
    known_name = name if NAME.match(name) else ""
    if shared.attempts.wait_s(known_name, address) > 0:
        shared.board.metrics.sign_ins.labels("limited").inc()
        return _form(request, 429, ("sign_in_wait", "Too many attempts. Wait five minutes."))
    # Counted before the check: attempts that run side by side count as well.
    shared.attempts.failed(known_name, address)
    async with _checks:
        session = await asyncio.to_thread(shared.visitors.sign_in, name, password)
    shared.board.metrics.sign_ins.labels("done" if session else "refused").inc()
    if session is None:
        return _form(request, 403, ("sign_in_wrong", "The name or the password is wrong."))
    shared.attempts.succeeded(known_name, address)
    log.info("signed in: %s", known_name)
    request[NEW_COOKIE] = (session, shared.visitors.doors.session_s)
    return web.Response(status=303, headers={hdrs.LOCATION: _local_path(str(form.get("next", "")))})


async def sign_out(request: web.Request) -> web.Response:
    """End a session."""
    shared, form, visitor = context(request), await request.post(), visitor_of(request)
    if not _is_own(request, visitor.cookie, str(form.get("csrf", ""))):
        return problem(403, said(request, *FORGED))
    shared.visitors.sign_out(visitor.cookie)
    request[NEW_COOKIE] = ("", 0)
    return web.Response(status=303, headers={hdrs.LOCATION: "/sign-in" if shared.visitors.has_sign_in else "/"})


def _is_own(request: web.Request, cookie: str, token: str) -> bool:
    origin, host = request.headers.get(hdrs.ORIGIN), request.headers.get(hdrs.HOST)
    return context(request).visitors.is_own_page(cookie, token, origin, host)


def _local_path(path: str | None) -> str:
    """Return where to go on: a path of this screen, whatever an address says."""
    if not path or len(path) > _LONGEST_PATH or not path.startswith("/") or path[1:2] in ("/", "\\"):
        return "/"
    return path if path.isprintable() and "\\" not in path else "/"
