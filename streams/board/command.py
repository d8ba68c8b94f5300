"""`dialysis-alerts board`: the unit screen as a process of its own, and the commands that say who may see it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from models.settings import Settings
from streams.board.answer_desk import Limits
from streams.board.answer_sender import AnswerSender
from streams.board.board_metrics import BoardMetrics
from streams.board.board_server import BoardAddressError, BoardServer
from streams.board.front_end import FrontEnd
from streams.board.site_file import Site, SiteFileError, read_site
from streams.board.topic_reader import read_picture, read_story
from streams.board.unit_board import UnitBoard
from streams.board.user_file import NAME, UserFile, UserFileError, add_token, add_user
from streams.board.visitors import Doors, Visitors
from streams.board.web_context import Context
from streams.exit_status import DONE, FAILED, WRONG_USE

log = logging.getLogger(__name__)

#: What changes is told in at most so many pieces a second.
FLUSH_S: Final = 0.25
#: A password may come from here where nobody can type one.
PASSWORD: Final = "DIALYSIS_BOARD_PASSWORD"  # noqa: S105 (the name of a variable)
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class WrongUseError(Exception):
    """The screen cannot start like this; one sentence a line, with the fix."""


def run(settings: Settings, user: str | None = None) -> int:
    """Serve the screen until SIGTERM, SIGINT or SIGHUP.

    Args:
        settings: Addresses, topics, files.
        user: On loopback without a sign-in: who answers.

    Returns:
        The exit status: 2 where settings cannot be used, 1 where the address cannot.
    """
    handler = logging.StreamHandler()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
    # aiohttp logs each request that is none, with its bytes: whoever sends garbage must not fill the log.
    for chatty in ("aiokafka", "aiohttp.access", "aiohttp.server"):
        logging.getLogger(chatty).setLevel("DEBUG" if settings.log_level == "debug" else "CRITICAL")
    try:
        site, visitors = _site(settings), _visitors(settings, user)
    except WrongUseError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    try:
        asyncio.run(_serve(settings, site, visitors))
    except BoardAddressError as error:
        print(error, file=sys.stderr)
        return FAILED
    return DONE


def _site(settings: Settings) -> Site:
    try:
        return read_site(settings.board_site)
    except SiteFileError as error:
        raise WrongUseError("\n".join(f"DIALYSIS_BOARD_SITE: {problem}." for problem in error.problems)) from None


def _visitors(settings: Settings, user: str | None) -> Visitors:
    """Decide who may see the screen.

    Raises:
        WrongUseError: Others could reach it, and nobody would have to sign in.
    """
    host = settings.board_address[0].strip("[]")
    file = _user_file(settings)
    proxies = settings.proxy_networks
    is_open = file is None and not proxies
    if is_open and not _is_loopback(host):
        raise WrongUseError(
            f"The screen would answer on {host}, where others reach it, and nobody would have to sign in. Make a users"
            " file with `dialysis-alerts board user add NAME` and name it in DIALYSIS_BOARD_USERS, or list the proxy"
            " that knows who asks in DIALYSIS_BOARD_PROXIES; else leave DIALYSIS_BOARD_HTTP on 127.0.0.1."
        )
    if user is not None and not NAME.match(user):
        raise WrongUseError("--user has 1 to 64 characters: letters, digits and ._@- (the first a letter or digit).")
    if user is not None and not is_open:
        raise WrongUseError("--user is for a screen without a sign-in: leave it out, since people sign in here.")
    doors = Doors(
        proxies=proxies,
        user_header=settings.board_user_header,
        role_header=settings.board_role_header,
        open_user=user,
        is_open=is_open,
        hosts=frozenset({*_LOOPBACK_NAMES, host.lower()}),
        session_s=settings.board_session_hours * 3600,
    )
    return Visitors(doors, file)


def _user_file(settings: Settings) -> UserFile | None:
    if settings.board_users is None:
        return None
    try:
        file = UserFile(settings.board_users)
    except UserFileError as error:
        raise WrongUseError(f"DIALYSIS_BOARD_USERS: {error}.") from None
    if not file.users.users and not file.users.tokens:
        raise WrongUseError("DIALYSIS_BOARD_USERS: nobody is in it: `dialysis-alerts board user add NAME` adds one.")
    return file


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


async def _serve(settings: Settings, site: Site, visitors: Visitors) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, site, visitors) as server:
        host = settings.board_address[0]
        print(f"The unit screen is on http://{host}:{server.port}/", flush=True)
        await stop.wait()


@contextlib.asynccontextmanager
async def running(
    settings: Settings, site: Site, visitors: Visitors, front: FrontEnd | None = None
) -> AsyncIterator[BoardServer]:
    """Run the screen: reader, timer and server.

    Raises:
        BoardAddressError: It cannot listen on the address.
    """
    limits = Limits(
        timedelta(minutes=settings.board_snooze_high_minutes), timedelta(minutes=settings.board_snooze_minutes)
    )
    board = UnitBoard(site, settings.partitions, BoardMetrics(), limits)
    sender = AnswerSender(settings)
    shared = Context(board, visitors, sender, front or FrontEnd())
    async with BoardServer(settings.board_address, shared) as server, contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(sender.stop)
        tasks = [
            asyncio.create_task(read_picture(settings, board), name="picture"),
            asyncio.create_task(read_story(settings, board), name="story"),
            asyncio.create_task(_flush(board), name="flush"),
        ]
        try:
            yield server
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _flush(board: UnitBoard) -> None:
    """Tell browsers what changed, for ever; a fault is logged and does not end it."""
    while True:
        try:
            board.flush()
            board.status()
        except Exception:  # the screen must go on: what failed is in the log
            log.exception("changes could not be told")
        await asyncio.sleep(FLUSH_S)


def user_add(settings: Settings, name: str, role: str, ask: Callable[[], str] | None = None) -> int:
    """Add a user to the users file, or give one another password.

    Args:
        settings: `board_users` names the file.
        name: Who; stands with each answer.
        role: viewer or responder.
        ask: Returns the password; by default from a variable, a pipe or the keyboard.

    Returns:
        The exit status.
    """
    try:
        path = _users_path(settings)
        is_new = add_user(path, name, role, (ask or _password)())
    except (WrongUseError, UserFileError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    print(f"{name} {'is added' if is_new else 'has a new password'}, with the role {role}.")
    return DONE


def token(settings: Settings, name: str) -> int:
    """Make a viewer token for a wall screen, and print the bookmark with it.

    Args:
        settings: `board_users` names the file.
        name: Of the screen; an older token of this name no longer holds.

    Returns:
        The exit status.
    """
    try:
        made = add_token(_users_path(settings), name)
    except (WrongUseError, UserFileError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    host, port = settings.board_address
    print(f"Bookmark of {name}, told only now: http://{host}:{port}/?token={made}")
    print("Put the address under which the wall screen reaches this one in place of the host.")
    return DONE


def _users_path(settings: Settings) -> Path:
    if settings.board_users is None:
        raise WrongUseError("DIALYSIS_BOARD_USERS is not set: name the users file, for example users.toml.")
    return settings.board_users


def _password() -> str:
    """Read a password: from the variable, from a pipe, or twice from the keyboard."""
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first, again = getpass.getpass("Password: "), getpass.getpass("Again: ")
    if first != again:
        raise UserFileError("The two passwords differ: try again.")
    return first
