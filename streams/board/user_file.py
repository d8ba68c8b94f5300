"""The users file: who may sign in with a password, the viewer tokens of wall screens, and the key of the cookies.

    key = "…"

    [users.anna]
    role = "responder"
    password = "$argon2id$…"

    [tokens.wall-1]
    sha256 = "…"

Only the commands `board user add` and `board token` write it; a running screen reads it again when it has changed. A
password is kept as its argon2id hash. A token is 256 random bits, for which a plain hash is enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from streams.rules.settings_file import SettingsFileError, read_tables

Role = Literal["viewer", "responder"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "responder")
#: Names stand in `alert_response.by` and in logs.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 200
_TOKEN_BYTES: Final = 32
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_hasher: Final = PasswordHasher()
#: Checked for a name that does not exist, so that the time of an answer does not tell which names do.
_NOBODY: Final = _hasher.hash(secrets.token_urlsafe(16))


class UserFileError(Exception):
    """The file cannot be used or written; one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A person who may sign in."""

    role: Role
    password: str


@dataclass(frozen=True, slots=True)
class Users:
    """The file's content: users and tokens (their SHA-256) by name; `key` signs the cookies."""

    key: str
    users: dict[str, LocalUser] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def is_password(self, name: str, password: str) -> bool:
        """Check a password, in about the same time whether the user exists or not; slow by design, call it aside."""
        user = self.users.get(name)
        if len(password) > LONGEST_PASSWORD:
            return False
        try:
            return _hasher.verify(user.password if user else _NOBODY, password) and user is not None
        except (Argon2Error, InvalidHashError):
            return False

    def token_name(self, token: str) -> str | None:
        """Return the name of a viewer token, None where it is none."""
        digest = _digest(token)
        found = [name for name, known in self.tokens.items() if hmac.compare_digest(known, digest)]
        return found[0] if found else None


class UserFile:
    """The users file of a running screen, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            UserFileError: It cannot be used.
        """
        self._path = path
        self._stamp = _stamp(path)
        self._users = read_users(path)

    @property
    def users(self) -> Users:
        """The newest content that could be used."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            with contextlib.suppress(UserFileError):  # a file in the middle of an edit: what was known stays
                self._users = read_users(self._path)
        return self._users


def read_users(path: Path) -> Users:
    """Read a users file.

    Raises:
        UserFileError: It cannot be used; one sentence with the key and the fix, without the path.
    """
    try:
        tables = read_tables(path)
    except SettingsFileError as error:
        raise UserFileError(f"{error}; `dialysis-alerts board user add NAME` makes one") from None
    key = tables.get("key")
    if not isinstance(key, str) or len(key) < _TOKEN_BYTES:
        raise UserFileError("key is missing: `dialysis-alerts board user add NAME` writes one")
    users = {name: _user(name, table) for name, table in _named(tables, "users").items()}
    tokens = {name: _token(name, table) for name, table in _named(tables, "tokens").items()}
    return Users(key, users, tokens)


def add_user(path: Path, name: str, role: str, password: str) -> bool:
    """Add a user, or give one another password and role; return whether the user is new.

    Raises:
        UserFileError: A value or the file cannot be used, or the file cannot be written.
    """
    _check_name(name)
    if role not in ROLES:
        raise UserFileError(f"The role is none: use one of {', '.join(ROLES)}.")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserFileError(f"The password needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    known = _read_or_new(path)
    chosen: Role = "responder" if role == "responder" else "viewer"
    users = known.users | {name: LocalUser(chosen, _hasher.hash(password))}
    _write(path, Users(known.key, users, known.tokens))
    return name not in known.users


def add_token(path: Path, name: str) -> str:
    """Make a viewer token under a name; an older one of the name no longer holds. Returns the token, told only once.

    Raises:
        UserFileError: The name or the file cannot be used, or the file cannot be written.
    """
    _check_name(name)
    known = _read_or_new(path)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    _write(path, Users(known.key, known.users, known.tokens | {name: _digest(token)}))
    return token


def _check_name(name: str) -> None:
    if not NAME.match(name):
        raise UserFileError("The name has 1 to 64 characters: letters, digits and ._@- (the first a letter or digit).")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _named(tables: dict[str, Any], key: str) -> dict[str, Any]:
    found = tables.get(key, {})
    if not isinstance(found, dict):
        raise UserFileError(f"{key} is no table: begin each entry with [{key}.NAME]")
    for name in found:
        if not NAME.match(name):
            raise UserFileError(f"{key} has a name that cannot be used: letters, digits and ._@- can")
    return found


def _user(name: str, table: Any) -> LocalUser:
    role, password = (table.get("role"), table.get("password")) if isinstance(table, dict) else (None, None)
    if role not in ROLES:
        raise UserFileError(f"users.{name}.role is none: use one of {', '.join(ROLES)}")
    if not isinstance(password, str) or not password.startswith("$argon2id$"):
        raise UserFileError(f"users.{name}.password is no argon2id hash: `dialysis-alerts board user add` writes one")
    return LocalUser(role, password)


def _token(name: str, table: Any) -> str:
    digest = table.get("sha256") if isinstance(table, dict) else None
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise UserFileError(f"tokens.{name}.sha256 is no hash: `dialysis-alerts board token` writes one")
    return digest


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_or_new(path: Path) -> Users:
    if not path.exists():
        return Users(secrets.token_urlsafe(_TOKEN_BYTES))
    try:
        return read_users(path)
    except UserFileError as error:
        raise UserFileError(f"The users file {error}.") from None


def _write(path: Path, users: Users) -> None:
    """Write the file at once or not at all, for its owner alone."""
    lines = [f"key = {_quoted(users.key)}"]
    for name, user in sorted(users.users.items()):
        lines += [
            "",
            f"[users.{_quoted(name)}]",
            f"role = {_quoted(user.role)}",
            f"password = {_quoted(user.password)}",
        ]
    for name, digest in sorted(users.tokens.items()):
        lines += ["", f"[tokens.{_quoted(name)}]", f"sha256 = {_quoted(digest)}"]
    try:
        # The system makes it readable for its owner alone.
        descriptor, coming = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(coming).replace(path)
        except BaseException:
            Path(coming).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserFileError(f"The users file cannot be written: {error.strerror or error}.") from None


def _quoted(text: str) -> str:
    return json.dumps(text)
