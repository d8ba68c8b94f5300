"""The JSON of the screen: room, alert, alarm load, people's answers; metrics and health."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from streams.board.answer_desk import AnswerRefusedError, checked
from streams.board.answer_sender import AnswerNotSentError
from streams.board.web_context import context, filters_of, said, visitor_of
from streams.board.web_guard import FORGED, problem

log = logging.getLogger(__name__)

_GONE: Final = ("refused_gone", "There is no such alert, or it is no longer kept.")
_encode: Final = msgspec.json.Encoder().encode


def _json(value: Any, status: int = 200) -> web.Response:
    response = web.Response(body=_encode(value), status=status, content_type="application/json")
    response.enable_compression()
    return response


async def room(request: web.Request) -> web.Response:
    """Answer with the state of the room page."""
    return _json(context(request).board.room(filters_of(request)))


async def alert(request: web.Request) -> web.Response:
    """Answer with one alert in full."""
    found = context(request).board.alert(request.match_info["alert_id"].lower())
    return _json(found) if found is not None else problem(404, said(request, *_GONE))


async def load(request: web.Request) -> web.Response:
    """Answer with the alarm load of the last 24 h."""
    return _json(context(request).board.load())


async def answer(request: web.Request) -> web.Response:
    """Take a person's answer: check it, send it, and say that it is on its way."""
    shared, visitor = context(request), visitor_of(request)
    board, alert_id = shared.board, request.match_info["alert_id"].lower()
    origin, host = request.headers.get(hdrs.ORIGIN), request.headers.get(hdrs.HOST)
    if not shared.visitors.is_own_page(visitor.cookie, request.headers.get("X-CSRF-Token"), origin, host):
        board.metrics.answers.labels("any", "forged").inc()
        return problem(403, said(request, *FORGED))
    if not visitor.may_answer:
        board.metrics.answers.labels("any", "viewer").inc()
        return problem(
            403, said(request, "refused_viewer", "You may look at alerts, not answer them: sign in as a responder.")
        )
    kept = board.picture.alerts.get(alert_id)
    if kept is None:
        return problem(404, said(request, *_GONE))
    session = board.picture.session_of(kept.alert.patient_id)
    try:
        given = checked(await _body(request), kept.alert, session, visitor.name, board.now(), board.limits)
    except AnswerRefusedError as refusal:
        board.metrics.answers.labels("any", "refused").inc()
        return problem(refusal.status, said(request, refusal.key, str(refusal), **refusal.values), refusal.field)
    told = board.sent(given)
    try:
        await shared.sender.send(given.message(kept.alert))
    except AnswerNotSentError as error:
        board.failed(given)
        board.metrics.answers.labels(given.action.value, "not_sent").inc()
        return problem(503, said(request, "refused_not_sent", str(error)))
    board.metrics.answers.labels(given.action.value, "sent").inc()
    log.info("answer: %s of alert %s at revision %d by %s", given.action, alert_id, given.revision, given.by)
    return _json({"answer": told}, 202)


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise AnswerRefusedError(422, 'The body is no JSON: send {"action": "acknowledge"}.', "body") from None


async def metrics(request: web.Request) -> web.Response:
    """Answer with the metrics for Prometheus."""
    encode, kind = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
    return web.Response(body=encode(context(request).board.metrics.registry), headers={"Content-Type": kind})


async def healthz(request: web.Request) -> web.Response:
    """Answer that the screen lives, and whether it is blind: a broker that is away is no reason to start it again."""
    blind = context(request).board.status()["blind"]
    return web.json_response({"status": "ok", "blind": blind["is_blind"], "reasons": blind["reasons"]})
