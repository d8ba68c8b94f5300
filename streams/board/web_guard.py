"""What every request passes: who asks, security headers, cookies; and an error never shows its inside."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from streams.board import languages
from streams.board.visitors import COOKIE, TOKEN_S
from streams.board.web_context import NEW_COOKIE, VISITOR, Context, context, said

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Nothing of another host, nothing inline, no frame around it.
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; media-src 'self';"
    " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: What two handlers say, by the key of the text.
FORGED: Final = ("refused_forged", "The request does not come from a page of this screen: reload the page.")
_PUBLIC: Final = frozenset({"/healthz", "/metrics", "/sign-in"})
_LONGEST_TOKEN: Final = 200


def problem(status: int, sentence: str, field: str | None = None) -> web.Response:
    """Return an error of the interface: one sentence, and the field at fault where there is one."""
    body = {"error": sentence} | ({"field": field} if field else {})
    return web.json_response(body, status=status)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through who may see the screen; send others to sign in. Cookies go out with what is not a stream."""
    response = await _let_through(request, handler)
    if not response.prepared:
        _add_cookies(request, response)
    return response


async def _let_through(request: web.Request, handler: Handler) -> web.StreamResponse:
    shared = context(request)
    if not shared.visitors.is_expected_host(request.headers.get(hdrs.HOST)):
        return problem(
            421,
            said(
                request,
                "refused_host",
                "This screen is not asked under this name: use the address that the command printed.",
            ),
        )
    if request.path.startswith("/static/"):
        return await _answered(request, handler)
    if "token" in request.query and request.method == hdrs.METH_GET:
        return _with_token(request, shared)
    visitor = shared.visitors.recognise(request.remote, request.headers, request.cookies.get(COOKIE))
    if visitor is not None:
        request[VISITOR] = visitor
        if visitor.set_cookie is not None:
            request[NEW_COOKIE] = (visitor.set_cookie, TOKEN_S)
    elif request.path not in _PUBLIC:
        return _sign_in_first(request)
    return await _answered(request, handler)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        if refusal.status < 400:
            raise
        return problem(refusal.status, f"{refusal.reason}.")
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        log.exception("a request failed")
        return problem(500, said(request, "refused_failed", "The screen failed at this request; its log says why."))


def _with_token(request: web.Request, shared: Context) -> web.StreamResponse:
    """Sign in a wall screen, and take the token out of the address."""
    address = client_address(request)
    path = request.rel_url.without_query_params("token")
    token = request.query["token"]
    if shared.attempts.wait_s("", address) > 0:
        return problem(429, said(request, "sign_in_wait", "Too many attempts. Wait five minutes."))
    cookie = shared.visitors.sign_in_with_token(token) if len(token) <= _LONGEST_TOKEN else None
    shared.board.metrics.sign_ins.labels("token" if cookie else "token_refused").inc()
    if cookie is None:
        shared.attempts.failed("", address)
        return problem(
            403,
            said(
                request,
                "refused_token",
                "The token does not hold: make another one with `dialysis-alerts board token`.",
            ),
        )
    request[NEW_COOKIE] = (cookie, TOKEN_S)
    return web.Response(status=303, headers={hdrs.LOCATION: str(path)})


def _sign_in_first(request: web.Request) -> web.Response:
    if not context(request).visitors.has_sign_in:
        return problem(401, said(request, "refused_proxy", "The proxy in front of this screen has to say who asks."))
    if request.path.startswith("/api/"):
        return problem(401, said(request, "refused_sign_in", "Sign in first: open /sign-in."))
    return web.Response(status=303, headers={hdrs.LOCATION: f"/sign-in?next={quote(request.path_qs, safe='')}"})


def client_address(request: web.Request) -> str:
    """Return the address of a browser: behind a trusted proxy, the last one that it names."""
    forwarded = request.headers.get(hdrs.X_FORWARDED_FOR)
    if forwarded and context(request).visitors.is_proxy(request.remote):
        return forwarded.rpartition(",")[2].strip()[:64]
    return request.remote or ""


def _is_https(request: web.Request) -> bool:
    told = request.headers.get(hdrs.X_FORWARDED_PROTO, "")
    return request.secure or (told == "https" and context(request).visitors.is_proxy(request.remote))


def _add_cookies(request: web.Request, response: web.StreamResponse) -> None:
    if NEW_COOKIE in request:
        cookie, seconds = request[NEW_COOKIE]
        response.set_cookie(
            COOKIE, cookie, max_age=int(seconds), httponly=True, samesite="Lax", secure=_is_https(request), path="/"
        )
    language = request.query.get("lang")
    if language in languages.LANGUAGES:
        response.set_cookie(languages.COOKIE, language, max_age=TOKEN_S, httponly=True, samesite="Lax", path="/")


async def on_prepare(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to an answer, also to a stream."""
    response.headers.update(HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers.popall(hdrs.SERVER, None)
