"""A small server that speaks the interface of the pages, with a made-up state that a test changes as it likes."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path
from typing import Any, Final, Self

import jinja2
from aiohttp import web

from tests.board_front import made_up
from tests.board_front.made_up import Json

FRONT: Final = Path(__file__).resolve().parents[2] / "streams" / "board" / "front"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CSRF: Final = "token-of-the-test"


def texts(lang: str) -> dict[str, str]:
    with (FRONT / "texts" / f"{lang}.toml").open("rb") as file:
        return tomllib.load(file)


class FakeBoard:
    """The server. `room` is its state; `tell` sends an event; `is_silent` stops its status events."""

    def __init__(self, room: Json | None = None, role: str = "responder", lang: str = "en") -> None:
        self.room = room or made_up.unit()
        self.user: Json | None = {"name": "N. Meyer", "role": role}
        self.lang = lang
        self.zone = "Europe/Berlin"
        self.answers: list[Json] = []
        self.answers_back = True
        self.is_silent = False
        self.is_away = False
        self.refusal: tuple[int, str] | None = None
        self.url = ""
        self._queues: set[asyncio.Queue[tuple[str, Json] | None]] = set()
        self._is_watched = asyncio.Event()
        self._is_answered = asyncio.Condition()
        self._environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FRONT / "templates"), autoescape=True)
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([
            web.get("/", self._room_page), web.get("/alerts/{id}", self._alert_page),
            web.get("/load", self._load_page), web.get("/sign-in", self._sign_in_page),
            web.get("/static/{file}", self._static), web.get("/api/room", self._room),
            web.get("/api/alerts/{id}", self._alert), web.get("/api/load", self._load),
            web.post("/api/alerts/{id}/answer", self._answer), web.get("/api/events", self._events),
        ])  # fmt: skip
        app.on_response_prepare.append(_secure)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    # What a test does.

    def tell(self, event: str, data: Json) -> None:
        """Send an event to every page."""
        for queue in self._queues:
            queue.put_nowait((event, data))

    async def watched(self) -> None:
        """Wait until the page that was opened last listens: what is told before that reaches nobody."""
        await asyncio.wait_for(self._is_watched.wait(), 20)

    async def answered(self, count: int = 1) -> list[Json]:
        """Wait until so many answers have arrived: a page shows one as sent before it is sent."""
        async with asyncio.timeout(20), self._is_answered:
            await self._is_answered.wait_for(lambda: len(self.answers) >= count)
        return self.answers

    def hang_up(self) -> None:
        """Close the connection of every page."""
        self._is_watched.clear()
        for queue in self._queues:
            queue.put_nowait(None)

    def tile(self, chair: str) -> Json:
        """A chair's tile, to be changed in place and told with `tell_tile`."""
        return next(tile for room in self.room["rooms"] for tile in room["chairs"] if tile["chair"] == chair)

    def tell_tile(self, chair: str, gone: tuple[str, ...] = ()) -> None:
        tile = self.tile(chair)
        self.tell("change", {"tiles": [tile], "alerts": tile["alerts"], "gone": list(gone)})

    def status(self) -> Json:
        self.room["now"] = made_up.iso(made_up.now())
        if not self.room["blind"]["is_blind"]:
            self.room["shown_at"] = self.room["now"]
        return {key: self.room[key] for key in ("now", "blind", "shown_at")}

    def find(self, alert_id: str) -> tuple[Json, Json | None] | None:
        for room in self.room["rooms"]:
            for tile in room["chairs"]:
                for found in tile["alerts"]:
                    if found["alert_id"] == alert_id:
                        return found, tile
        for found in self.room["without_chair"] + self.room["unit_alerts"]:
            if found["alert_id"] == alert_id:
                return found, None
        return None

    # Pages.

    def _page(self, name: str, request: web.Request, **more: Any) -> web.Response:
        self._is_watched.clear()
        html = self._environment.get_template(name).render(
            t=texts(self.lang), lang=self.lang, user=self.user, csrf=CSRF, filters=dict(request.query), zone=self.zone,
            version="0.1.0", **more,
        )  # fmt: skip
        return web.Response(text=html, content_type="text/html")

    async def _room_page(self, request: web.Request) -> web.Response:
        self.status()
        return self._page("room.html", request, state=self.room)

    async def _alert_page(self, request: web.Request) -> web.Response:
        return self._page("alert.html", request, state=self._details(request))

    async def _load_page(self, request: web.Request) -> web.Response:
        return self._page("load.html", request, state=made_up.load())

    async def _sign_in_page(self, request: web.Request) -> web.Response:
        self.user = None
        return self._page("sign_in.html", request)

    async def _static(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(FRONT / "static" / Path(request.match_info["file"]).name)

    # The interface.

    def _details(self, request: web.Request) -> Json:
        known = self.find(request.match_info["id"])
        if known is None:
            raise web.HTTPNotFound
        found, tile = known
        chair, patient = (tile["chair"], tile["patient_id"]) if tile else (None, found.get("patient_id"))
        return made_up.details(found, chair, patient)

    async def _room(self, _: web.Request) -> web.Response:
        if self.is_away:
            raise web.HTTPServiceUnavailable
        self.status()
        return web.json_response(self.room)

    async def _alert(self, request: web.Request) -> web.Response:
        return web.json_response(self._details(request))

    async def _load(self, _: web.Request) -> web.Response:
        return web.json_response(made_up.load())

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("X-CSRF-Token") != CSRF or not self.user or self.user["role"] != "responder":
            return web.json_response({"error": "Not allowed."}, status=403)
        body = await request.json()
        async with self._is_answered:
            self.answers.append(body | {"alert_id": request.match_info["id"]})
            self._is_answered.notify_all()
        if self.refusal:
            return web.json_response({"error": self.refusal[1]}, status=self.refusal[0])
        answer = {"action": body["action"], "state": "sent", "by": self.user["name"], "at": made_up.ago(0)}
        if self.answers_back:
            task = asyncio.create_task(self.come_back(request.match_info["id"], body["action"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.json_response({"answer": answer}, status=202)

    async def come_back(self, alert_id: str, action: str) -> None:
        """The transition that the worker makes of an answer."""
        await asyncio.sleep(0.3)
        known = self.find(alert_id)
        assert known is not None
        found, tile = known
        status = {"acknowledge": "acknowledged", "unacknowledge": "active", "snooze": "snoozed", "resolve": "resolved"}
        by = "N. Meyer" if action == "acknowledge" else None
        found.update(
            status=status[action], revision=found["revision"] + 1, at=made_up.ago(0), acknowledged_by=by,
            acknowledged_at=made_up.ago(0), snoozed_until=made_up.ago(-15) if action == "snooze" else None,
        )  # fmt: skip
        self.tell("change", {"tiles": [tile] if tile else [], "alerts": [found], "gone": []})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self.is_away:
            raise web.HTTPServiceUnavailable
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        self._queues.add(queue)
        self._is_watched.set()
        try:
            await self._send_all(response, queue)
        except ConnectionResetError:
            pass
        finally:
            self._queues.discard(queue)
        return response

    async def _send_all(self, response: web.StreamResponse, queue: asyncio.Queue[tuple[str, Json] | None]) -> None:
        number = 0
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), 1)
                if item is None:
                    return
            except TimeoutError:
                if self.is_silent:
                    continue
                item = ("status", self.status())
            number += 1
            event, data = item
            await response.write(f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode())


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Content-Security-Policy"] = CSP
