"""The routes of the screen."""

from __future__ import annotations

from aiohttp import web

from streams.board import event_stream, json_api, pages
from streams.board.web_context import CONTEXT, Context
from streams.board.web_guard import guard, on_prepare

#: The largest body of a request, in bytes: a form, or an answer.
_LARGEST_BODY = 16 * 1024


def application(shared: Context) -> web.Application:
    """Build the application."""
    app = web.Application(middlewares=[guard], client_max_size=_LARGEST_BODY)
    app[CONTEXT] = shared
    app.on_response_prepare.append(on_prepare)
    app.router.add_routes(
        [
            web.get("/", pages.room),
            web.get("/alerts/{alert_id}", pages.alert),
            web.get("/load", pages.load),
            web.get("/sign-in", pages.sign_in_form),
            web.post("/sign-in", pages.sign_in),
            web.post("/sign-out", pages.sign_out),
            web.get("/static/{file}", pages.static),
            web.get("/api/room", json_api.room),
            web.get("/api/load", json_api.load),
            web.get("/api/events", event_stream.events),
            web.get("/api/alerts/{alert_id}", json_api.alert),
            web.post("/api/alerts/{alert_id}/answer", json_api.answer),
            web.get("/metrics", json_api.metrics),
            web.get("/healthz", json_api.healthz),
        ]
    )
    return app
