"""Reads a rule-settings file: whatever the path names, the result is the tables or one sentence."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

#: The largest file that is read. A site's settings are a few kilobytes; a larger file is for something else.
MAX_BYTES: Final = 256 * 1024


class SettingsFileError(Exception):
    """The file cannot be read as TOML; one sentence without the path."""


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file, which must be an ordinary file of at most `MAX_BYTES`, as text in UTF-8.

    Raises:
        SettingsFileError: it is not.
    """
    try:
        raw = _read(path)
    except OSError as error:
        raise SettingsFileError(f"cannot be read: {error.strerror or error}: name a TOML file") from None
    except ValueError:
        raise SettingsFileError("is no path of a file: name a TOML file") from None
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsFileError(f"is not TOML: byte {error.start} is not UTF-8: save it as text in UTF-8") from None
    except RecursionError:
        raise SettingsFileError("is not TOML that can be used: it is nested too deeply") from None
    except ValueError as error:  # tomllib passes on what int() and datetime() raise
        raise SettingsFileError(f"is not TOML: {_one_line(error)}") from None


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK a pipe without a writer would block the command for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SettingsFileError("is not an ordinary file: name a TOML file")
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise SettingsFileError(f"is larger than {MAX_BYTES // 1024} KiB: name a TOML file with rule settings")
    return raw


def _one_line(error: ValueError) -> str:
    return " ".join(str(error).split())[:200]
