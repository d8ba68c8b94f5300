"""The screen behind real HTTP, with records from a test and a sender that keeps what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from streams.board.answer_desk import Message
from streams.board.answer_sender import AnswerNotSentError
from streams.board.board_server import BoardServer
from streams.board.front_end import FrontEnd
from streams.board.site_file import Site
from streams.board.visitors import Doors, Visitors
from streams.board.web_context import Context
from tests.board.records import SITE, Unit

#: Pages as small as can be: what the front end draws is its own matter.
PAGES: Final = {
    "room.html": '<p>{{ t.hello }} {{ user.name }} {{ user.role }}</p><meta name="csrf" content="{{ csrf }}">'
    '<script type="application/json" id="state">{{ state|tojson }}</script>{{ filters.room }} {{ zone }} {{ lang }}',
    "alert.html": "<h1>{{ state.summary }}</h1>{% for line in state.guidance %}<p>{{ line.text }}</p>{% endfor %}",
    "load.html": "<h1>load</h1>",
    "sign_in.html": '{{ error or "" }}<meta name="csrf" content="{{ csrf }}"><input name="next" value="{{ next }}">',
}
TEXTS: Final = {"en": 'hello = "Hello"\nonly_english = "yes"\n', "de": 'hello = "Hallo"\n'}


def front(folder: Path) -> FrontEnd:
    """A front end in a folder."""
    for kind in ("templates", "texts", "static"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, text in PAGES.items():
        (folder / "templates" / name).write_text(text)
    for language, text in TEXTS.items():
        (folder / "texts" / f"{language}.toml").write_text(text)
    (folder / "static" / "room.js").write_text("// a script\n" * 100)
    return FrontEnd(folder)


class KeptSender:
    """Stands for Kafka: keeps the answers, or refuses them."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.is_away = False

    async def send(self, message: Message) -> None:
        if self.is_away:
            raise AnswerNotSentError("Kafka did not confirm the answer.")
        self.sent.append(message)

    async def stop(self) -> None:
        pass


class Browser:
    """One browser: it keeps cookies, and follows no redirect by itself."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session, self.base = session, base

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.session.get(self.base + path, allow_redirects=False, **options) as response:
            return response.status, await response.text()

    async def json(self, path: str, **options: Any) -> Any:
        status, text = await self.get(path, **options)
        assert status == 200, text
        return json.loads(text)

    async def csrf(self, path: str = "/") -> str:
        """The token that a page carries."""
        _, page = await self.get(path)
        found = re.search(r'name="csrf" content="([^"]*)"', page)
        assert found, page
        return found[1]

    async def post(self, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, text, and where it leads."""
        async with self.session.post(self.base + path, allow_redirects=False, **options) as response:
            return response.status, await response.text(), response.headers.get("Location", "")

    async def answer(self, alert_id: str, body: Any, csrf: str | None = None, **options: Any) -> tuple[int, Any]:
        headers = {"X-CSRF-Token": csrf if csrf is not None else await self.csrf()} | options.pop("headers", {})
        status, text, _ = await self.post(f"/api/alerts/{alert_id}/answer", json=body, headers=headers, **options)
        return status, json.loads(text)

    async def sign_in(self, user: str, password: str, **more: str) -> tuple[int, str, str]:
        csrf = await self.csrf("/sign-in")
        return await self.post("/sign-in", data={"user": user, "password": password, "csrf": csrf} | more)


class Served:
    """A running screen and its parts."""

    def __init__(self, server: BoardServer, shared: Context, unit: Unit, sender: KeptSender) -> None:
        self.server, self.shared, self.unit, self.sender = server, shared, unit, sender
        self.base = f"http://127.0.0.1:{server.port}"

    @contextlib.asynccontextmanager
    async def browser(self, **headers: str) -> AsyncIterator[Browser]:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as session:
            yield Browser(session, self.base)


@contextlib.asynccontextmanager
async def served(folder: Path, visitors: Visitors | None = None, site: Site = SITE) -> AsyncIterator[Served]:
    """Serve a screen with one patient on chair 01 and one open alert; on loopback, answered by `me`, unless told."""
    unit, sender = Unit(site), KeptSender()
    unit.session()
    unit.alert("a")
    unit.sees()
    hosts = frozenset({"127.0.0.1", "localhost"})
    chosen = visitors or Visitors(Doors(is_open=True, open_user="me", hosts=hosts), None)
    shared = Context(unit.board, chosen, sender, front(folder / "front"))  # type: ignore[arg-type]
    async with BoardServer(("127.0.0.1", 0), shared) as server:
        yield Served(server, shared, unit, sender)


class Events:
    """An event stream, read one event at a time."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, kind: str | None = None, seconds: float = 5.0) -> tuple[str, str, Any]:
        """The id, kind and data of the next event, or of the next one of a kind."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self._event()
                if kind is None or event[1] == kind:
                    return event

    async def _event(self) -> tuple[str, str, Any]:
        fields: dict[str, str] = {}
        while True:
            line = (await self._response.content.readline()).decode()
            assert line, "the stream ended"
            if line == "\n":
                if "event" in fields:
                    return fields["id"], fields["event"], json.loads(fields["data"])
                fields = {}
            else:
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value


@contextlib.asynccontextmanager
async def events(browser: Browser, query: str = "", **headers: str) -> AsyncIterator[Events]:
    """Follow the event stream."""
    async with browser.session.get(f"{browser.base}/api/events{query}", headers=headers) as response:
        assert response.status == 200
        yield Events(response)
