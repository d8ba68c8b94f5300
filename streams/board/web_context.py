"""What all handlers share, and the keys under which a request carries who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import hdrs, web

from streams.board import languages
from streams.board.answer_sender import AnswerSender
from streams.board.front_end import FrontEnd
from streams.board.tiles import FILTERS, Filters
from streams.board.unit_board import UnitBoard
from streams.board.visitors import SignInLimit, Visitor, Visitors


@dataclass(slots=True)
class Context:
    """The parts of the running screen."""

    board: UnitBoard
    visitors: Visitors
    sender: AnswerSender
    front: FrontEnd
    attempts: SignInLimit = field(default_factory=SignInLimit)
    #: Connections that carry an event stream: they may stay open.
    streams: set[Any] = field(default_factory=set)


CONTEXT: Final = web.AppKey("context", Context)
#: In a request: who asks (absent where nobody has signed in), and a cookie that goes back with the answer.
VISITOR: Final = web.RequestKey("visitor", Visitor)
NEW_COOKIE: Final = web.RequestKey("new_cookie", tuple[str, float])
_LONGEST_FILTER: Final = 200


def context(request: web.Request) -> Context:
    """Return what all handlers share."""
    return request.app[CONTEXT]


def visitor_of(request: web.Request) -> Visitor:
    """Return who asks; the guard lets nobody else through."""
    return request[VISITOR]


def language_of(request: web.Request) -> str:
    """Return the language of a page, and of what its scripts ask for."""
    accepted = request.headers.get(hdrs.ACCEPT_LANGUAGE)
    return languages.chosen(request.query.get("lang"), request.cookies.get(languages.COOKIE), accepted)


def said(request: web.Request, key: str, english: str, **values: str | int) -> str:
    """Return a sentence in the language of the page; the English one where the front end has none."""
    text = context(request).front.text(language_of(request), key, english)
    return languages.filled(text, values)


def filters_of(request: web.Request) -> Filters:
    """Return the filters of an address; what is too long to be a name is no filter."""
    found = {name: request.query[name] for name in FILTERS if request.query.get(name)}
    return Filters({name: value for name, value in found.items() if len(value) <= _LONGEST_FILTER})
