"""Who asks, and what may they do: proxy header, signed cookie, viewer token, or the open screen on loopback.

Pure but for the clock it is given. A cookie holds name, kind and expiry, signed with the key of the users file; the
role is looked up at each request, so who is taken out of the file is out at once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

from streams.board.user_file import NAME, Role, UserFile

COOKIE: Final = "dialysis_board"
#: A wall screen stays signed in for a year; taking its token out of the users file ends that.
TOKEN_S: Final = 365 * 24 * 3600
_MOST_SIGNED_OUT: Final = 10_000
_LONGEST_COOKIE: Final = 400
#: After so many failures to sign in within a time, in seconds, nobody of that name or address may try again in it.
FAILURES: Final = 5
FAILURES_OF_ADDRESS: Final = 20
FAILURES_OF_NAME: Final = 50
WINDOW_S: Final = 300.0
_MOST_COUNTED: Final = 10_000

Kind = Literal["user", "token", "open"]
_KINDS: Final[dict[str, Kind]] = {"user": "user", "token": "token", "open": "open"}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may see the screen; `cookie` binds the CSRF token, `set_cookie` is new and goes to the browser."""

    name: str
    role: Role
    cookie: str
    set_cookie: str | None = None
    can_sign_out: bool = False

    @property
    def may_answer(self) -> bool:
        """Whether this person may answer alerts."""
        return self.role == "responder"


@dataclass(frozen=True, slots=True)
class Doors:
    """Which ways in are open.

    Attributes:
        proxies: From these addresses the header `user_header` names who asks; it is ignored from all others.
        user_header: Its value is a name.
        role_header: Its value is viewer or responder; without it the users file says, else viewer.
        open_user: On loopback without a sign-in: who answers; None makes everybody a viewer.
        is_open: Without a sign-in: everybody who reaches the screen may see it.
        hosts: The names under which an open screen is asked; another one is a page that tricks a browser.
        session_s: How long a sign-in lasts, in seconds.
    """

    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    user_header: str = "X-Remote-User"
    role_header: str = "X-Remote-Role"
    open_user: str | None = None
    is_open: bool = False
    hosts: frozenset[str] = frozenset()
    session_s: float = 12 * 3600.0


class Visitors:
    """Recognises who asks, signs people in and out, and checks that a request comes from our own page."""

    def __init__(self, doors: Doors, file: UserFile | None, now: Callable[[], float] = time.time) -> None:
        self.doors = doors
        self._file = file
        self._now = now
        self._random = secrets.token_urlsafe(32)
        self._signed_out: OrderedDict[str, None] = OrderedDict()

    @property
    def has_sign_in(self) -> bool:
        """Whether people can sign in with a password."""
        return self._file is not None

    def recognise(self, peer: str | None, headers: Mapping[str, str], cookie: str | None) -> Visitor | None:
        """Return who asks; None if they must sign in first.

        Args:
            peer: The address that the connection comes from.
            headers: Of the request, without case.
            cookie: Ours, if the browser sent one.
        """
        known = self._read(cookie) if cookie else None
        from_proxy = self._from_proxy(peer, headers)
        if from_proxy is not None:
            return self._bound(*from_proxy, cookie if known is not None else None)
        if known is not None and cookie is not None and (found := self._of_cookie(known, cookie)):
            return found
        if not self.doors.is_open:
            return None
        is_ours = known is not None and known[0] == "open"
        name, role = self._open()
        return self._bound(name, role, cookie if is_ours else None)

    def is_expected_host(self, host: str | None) -> bool:
        """Return whether an open screen is asked under a name of its own: the browser may be on a foreign page."""
        if not self.doors.is_open or not self.doors.hosts:
            return True
        return _host_of(host or "") in self.doors.hosts

    def sign_in(self, name: str, password: str) -> str | None:
        """Check a password and return the cookie of a new session, else None. Slow by design: call it aside."""
        if self._file is None or not self._file.users.is_password(name, password):
            return None
        return self._cookie("user", name, self.doors.session_s)

    def sign_in_with_token(self, token: str) -> str | None:
        """Return the cookie for a viewer token; None where it is none."""
        name = self._file.users.token_name(token) if self._file is not None and len(token) <= 200 else None
        return self._cookie("token", name, TOKEN_S) if name is not None else None

    def sign_out(self, cookie: str) -> None:
        """Let a cookie no longer count."""
        self._signed_out[cookie] = None
        while len(self._signed_out) > _MOST_SIGNED_OUT:
            self._signed_out.popitem(last=False)

    def csrf(self, cookie: str) -> str:
        """Return the token that a form must bring back: it belongs to this browser's cookie alone."""
        return self._signed(f"csrf|{cookie}")

    def is_own_page(self, cookie: str, token: str | None, origin: str | None, host: str | None) -> bool:
        """Return whether a request that changes something comes from our own page."""
        if origin is not None and (origin == "null" or urlsplit(origin).netloc.lower() != (host or "").lower()):
            return False
        return token is not None and hmac.compare_digest(token.encode(), self.csrf(cookie).encode())

    def stranger(self) -> str:
        """Return a cookie for somebody who has not signed in yet: it binds the form for that."""
        return self._cookie("open", "", TOKEN_S)

    # -- how

    def _open(self) -> tuple[str, Role]:
        return (self.doors.open_user, "responder") if self.doors.open_user else ("viewer", "viewer")

    def _bound(self, name: str, role: Role, cookie: str | None) -> Visitor:
        if cookie is not None:
            return Visitor(name, role, cookie)
        made = self.stranger()
        return Visitor(name, role, made, set_cookie=made)

    def _from_proxy(self, peer: str | None, headers: Mapping[str, str]) -> tuple[str, Role] | None:
        if not self.is_proxy(peer):
            return None
        name = headers.get(self.doors.user_header, "")
        if not NAME.match(name):
            return None
        said = headers.get(self.doors.role_header)
        if said is not None:
            return name, "responder" if said.strip().lower() == "responder" else "viewer"
        local = self._file.users.users.get(name) if self._file is not None else None
        return name, local.role if local else "viewer"

    def is_proxy(self, peer: str | None) -> bool:
        """Return whether a connection comes from a trusted proxy."""
        if not self.doors.proxies or peer is None:
            return False
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self.doors.proxies)

    def _of_cookie(self, known: tuple[Kind, str], cookie: str) -> Visitor | None:
        kind, name = known
        users = self._file.users if self._file is not None else None
        if users is None or kind == "open":
            return None
        if kind == "token":
            return Visitor(name, "viewer", cookie, can_sign_out=True) if name in users.tokens else None
        user = users.users.get(name)
        return Visitor(name, user.role, cookie, can_sign_out=True) if user else None

    def _key(self) -> bytes:
        return (self._file.users.key if self._file is not None else self._random).encode()

    def _signed(self, text: str) -> str:
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def _cookie(self, kind: Kind, name: str, seconds: float) -> str:
        said = f"{kind}|{name}|{int(self._now() + seconds)}|{secrets.token_urlsafe(9)}|{self._mark(kind, name)}"
        packed = base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")  # what a cookie holds unquoted
        return f"{packed}.{self._signed(packed)}"

    def _mark(self, kind: str, name: str) -> str:
        """Return a mark of the password or token: another one ends the sessions of the old."""
        if self._file is None or kind == "open":
            return ""
        users = self._file.users
        if kind == "token":
            secret = users.tokens.get(name, "")
        else:
            secret = users.users[name].password if name in users.users else ""
        return self._signed(f"mark|{secret}")[:16]

    def _read(self, cookie: str) -> tuple[Kind, str] | None:
        """Return kind and name of a cookie that is ours and still counts."""
        packed, _, signature = cookie.partition(".")
        if len(cookie) > _LONGEST_COOKIE or cookie in self._signed_out or not cookie.isascii():
            return None
        if not hmac.compare_digest(signature.encode(), self._signed(packed).encode()):
            return None
        said, name, until, _, mark = base64.urlsafe_b64decode(packed + "==").decode().split("|")
        kind = _KINDS.get(said)
        if kind is None or int(until) <= self._now() or mark != self._mark(kind, name):
            return None
        return kind, name


class SignInLimit:
    """Counts failed attempts to sign in: of a name from an address, of an address, of a name from anywhere.

    Bounded: the oldest are forgotten first.
    """

    def __init__(self, mono: Callable[[], float] = time.monotonic) -> None:
        self._mono = mono
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_s(self, name: str, address: str) -> float:
        """Return for how many seconds nobody of this name or address may try again; 0 where they may."""
        return max(self._wait(key, most) for key, most in _counted(name, address).items())

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        for key in _counted(name, address):
            count, since = self._failures.pop(key, (0, self._mono()))
            if self._mono() - since >= WINDOW_S:
                count, since = 0, self._mono()
            self._failures[key] = (count + 1, since)
        while len(self._failures) > _MOST_COUNTED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Take back the attempt that was counted as a failure, and forget those of this name from this address."""
        for key in _counted(name, address):
            count, since = self._failures.pop(key, (0, 0.0))
            if count > 1 and key != (name, address):
                self._failures[key] = (count - 1, since)

    def _wait(self, key: tuple[str, str], most: int) -> float:
        count, since = self._failures.get(key, (0, 0.0))
        left = since + WINDOW_S - self._mono()
        return max(0.0, left) if count >= most else 0.0


def _counted(name: str, address: str) -> dict[tuple[str, str], int]:
    """Return what an attempt counts for, with the most failures that each may have."""
    return {(name, address): FAILURES, ("", address): FAILURES_OF_ADDRESS, (name, ""): FAILURES_OF_NAME}


def _host_of(host: str) -> str:
    """Return the name of a Host header, without its port."""
    return urlsplit(f"//{host}").hostname or ""
