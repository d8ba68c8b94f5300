"""Who may see the screen and who may answer: sign-in, tokens, proxies; and that it refuses to stand open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from models.settings import Settings
from streams.board import command
from streams.board.user_file import UserFile, add_token, add_user
from streams.board.visitors import FAILURES, Doors, SignInLimit, Visitors
from streams.exit_status import WRONG_USE
from tests.board.web import Served, events, served

PASSWORD = "correct horse"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.toml"
    add_user(path, "anna", "responder", PASSWORD)
    add_user(path, "bob", "viewer", PASSWORD)
    return path


@pytest.fixture
def clock() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
async def screen(tmp_path: Path, users: Path, clock: list[float]) -> AsyncIterator[Served]:
    visitors = Visitors(Doors(session_s=3600), UserFile(users), now=lambda: clock[0])
    async with served(tmp_path, visitors) as made:
        yield made


async def test_nobody_sees_anything_before_signing_in(screen: Served) -> None:
    async with screen.browser() as browser:
        for path in ("/api/room", "/api/alerts/a", "/api/load", "/api/events"):
            status, text = await browser.get(path)
            assert (status, "p1" in text) == (401, False)
        for path in ("/", "/load", "/alerts/a"):
            assert (await browser.get(path))[0] == 303
        for path in ("/healthz", "/metrics", "/sign-in", "/static/room.js"):
            assert (await browser.get(path))[0] == 200
        assert (await browser.answer("a", {"action": "acknowledge"}, csrf="x"))[0] == 401


async def test_a_responder_signs_in_answers_and_signs_out(screen: Served) -> None:
    async with screen.browser() as browser:
        assert await browser.sign_in("anna", PASSWORD, next="/?room=Room+1") == (303, "", "/?room=Room+1")
        assert "anna responder" in (await browser.get("/"))[1]
        status, told = await browser.answer("a", {"action": "acknowledge"})
        assert (status, told["answer"]["by"]) == (202, "anna")
        csrf = await browser.csrf()
        assert (await browser.post("/sign-out", data={"csrf": "forged"}))[0] == 403
        cookie = {each.key: each.value for each in browser.session.cookie_jar}
        assert (await browser.post("/sign-out", data={"csrf": csrf}))[::2] == (303, "/sign-in")
        assert (await browser.get("/api/room"))[0] == 401
        assert (await browser.get("/api/room", cookies=cookie))[0] == 401  # also for who kept the cookie


async def test_a_viewer_cannot_answer(screen: Served) -> None:
    async with screen.browser() as browser:
        await browser.sign_in("bob", PASSWORD)
        assert (await browser.answer("a", {"action": "acknowledge"}))[0] == 403
        assert screen.sender.sent == []


async def test_a_cookie_cannot_be_read_by_scripts_nor_made_up(screen: Served) -> None:
    async with screen.browser() as browser:
        await browser.sign_in("anna", PASSWORD)
        (cookie,) = [each for each in browser.session.cookie_jar if each.key == "dialysis_board"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
        packed, _, signature = cookie.value.partition(".")
        forged = (f"{packed}.{'0' * 64}", f"x{packed}.{signature}", f"{packed}", "x" * 5_000, ".", "%00")
        for value in forged:
            headers = {"Cookie": f"dialysis_board={value}"}
            async with screen.browser(**headers) as other:
                assert (await other.get("/api/room"))[0] == 401


async def test_a_session_ends_by_time_by_a_new_password_and_when_the_user_is_taken_out(
    screen: Served, users: Path, clock: list[float]
) -> None:
    async with screen.browser() as browser:
        await browser.sign_in("anna", PASSWORD)
        assert (await browser.get("/api/room"))[0] == 200
        add_user(users, "anna", "viewer", "another password")
        assert (await browser.get("/api/room"))[0] == 401
        await browser.sign_in("anna", "another password")
        assert (await browser.get("/api/room"))[0] == 200
        async with events(browser) as stream:
            await stream.next("status")
            clock[0] += 3601
            with pytest.raises(AssertionError, match="the stream ended"):
                await stream.next("none of this kind")
        assert (await browser.get("/api/room"))[0] == 401


async def test_failed_attempts_are_counted_and_then_refused(screen: Served) -> None:
    async with screen.browser() as browser:
        for _ in range(FAILURES):
            assert (await browser.sign_in("anna", "wrong password"))[0] == 403
        assert (await browser.sign_in("anna", PASSWORD))[0] == 429
        assert (await browser.sign_in("bob", PASSWORD))[0] == 303


def test_the_limit_forgets_after_its_time_and_is_bounded() -> None:
    now = [0.0]
    limit = SignInLimit(mono=lambda: now[0])
    for _ in range(FAILURES):
        limit.failed("anna", "1")
    assert limit.wait_s("anna", "1") == 300.0
    assert limit.wait_s("anna", "2") == limit.wait_s("bob", "1") == 0.0
    now[0] = 300.0
    assert limit.wait_s("anna", "1") == 0.0
    for number in range(30):
        limit.failed(f"n{number}", "3")
    assert limit.wait_s("anybody", "3") > 0
    for number in range(60):
        limit.failed("anna", f"a{number}")
    assert limit.wait_s("anna", "elsewhere") > 0


async def test_the_form_is_bound_to_its_browser_and_leads_nowhere_else(screen: Served) -> None:
    async with screen.browser() as browser, screen.browser() as other:
        stolen = await other.csrf("/sign-in")
        await browser.csrf("/sign-in")
        data = {"user": "anna", "password": PASSWORD, "csrf": stolen}
        assert (await browser.post("/sign-in", data=data))[0] == 403
        for away in ("http://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"):
            assert (await browser.sign_in("anna", PASSWORD, next=away))[2] == "/"


async def test_a_wall_screen_signs_in_with_the_token_in_its_bookmark(screen: Served, users: Path) -> None:
    token = add_token(users, "wall-1")
    async with screen.browser() as browser:
        async with browser.session.get(f"{browser.base}/?room=Room+1&token={token}", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/?room=Room+1")
        assert "wall-1 viewer" in (await browser.get("/"))[1]
        assert (await browser.answer("a", {"action": "acknowledge"}))[0] == 403
        add_token(users, "wall-1")
        assert (await browser.get("/"))[0] == 303
        assert (await browser.get(f"/?token={token}"))[0] == 403


async def test_a_proxy_says_who_asks_and_nobody_else_can(tmp_path: Path, users: Path) -> None:
    ours = Visitors(Doors(proxies=(ip_network("127.0.0.1"),)), UserFile(users))
    async with served(tmp_path, ours) as screen, screen.browser() as browser:
        assert "anna responder" in (await browser.get("/", headers={"X-Remote-User": "anna"}))[1]
        assert "bob viewer" in (await browser.get("/", headers={"X-Remote-User": "bob"}))[1]
        assert "eve viewer" in (await browser.get("/", headers={"X-Remote-User": "eve"}))[1]
        both = {"X-Remote-User": "eve", "X-Remote-Role": "responder"}
        assert "eve responder" in (await browser.get("/", headers=both))[1]
        assert (await browser.get("/api/room", headers={"X-Remote-User": "<script>"}))[0] == 401
    theirs = Visitors(Doors(proxies=(ip_network("10.0.0.0/8"),)), None)
    async with served(tmp_path, theirs) as screen, screen.browser() as browser:
        assert (await browser.get("/api/room", headers={"X-Remote-User": "anna"}))[0] == 401
        assert (await browser.get("/", headers={"X-Remote-User": "anna"}))[0] == 401


async def test_on_loopback_without_a_user_everybody_only_looks(tmp_path: Path) -> None:
    async with served(tmp_path, Visitors(Doors(is_open=True), None)) as screen, screen.browser() as browser:
        assert "viewer viewer" in (await browser.get("/"))[1]
        assert (await browser.answer("a", {"action": "acknowledge"}))[0] == 403


@pytest.mark.parametrize(
    ("settings", "user", "words"),
    [
        ({"board_http": "0.0.0.0:0"}, None, "nobody would have to sign in"),
        ({"board_http": "192.0.2.1:6080"}, "anna", "nobody would have to sign in"),
        ({"board_http": "[::]:0"}, None, "nobody would have to sign in"),
        ({"board_http": "screen.example:0"}, None, "nobody would have to sign in"),
        ({"board_http": "127.0.0.1:0"}, "a|b", "--user has 1 to 64"),
        ({"board_http": "0.0.0.0:0", "board_proxies": "10.0.0.1"}, "anna", "--user is for a screen without"),
        ({"board_users": Path("/nowhere/users.toml")}, None, "DIALYSIS_BOARD_USERS: cannot be read"),
        ({"board_site": Path("/nowhere/site.toml")}, None, "DIALYSIS_BOARD_SITE: cannot be read"),
    ],
)
def test_it_refuses_to_start_and_says_how(
    settings: dict[str, object], user: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(Settings(**settings), user) == WRONG_USE  # type: ignore[arg-type]
    assert words in capsys.readouterr().err


def test_the_commands_make_users_and_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(board_users=tmp_path / "users.toml")
    assert command.user_add(settings, "anna", "responder", lambda: PASSWORD) == 0
    assert command.token(settings, "wall") == 0
    printed = capsys.readouterr().out
    assert "anna is added" in printed
    assert "http://127.0.0.1:6080/?token=" in printed
    assert command.user_add(settings, "anna", "responder", lambda: "short") == WRONG_USE
    assert command.user_add(Settings(), "anna", "responder", lambda: PASSWORD) == WRONG_USE
    assert "DIALYSIS_BOARD_USERS is not set" in capsys.readouterr().err
