"""Foreign text, made fit to be shown: one line, and nothing that a terminal or a screen would act on.

Characters that `str.isprintable` denies must not be shown: control characters, escapes, line and bidi controls,
characters without width, lone surrogates, private and unassigned ones.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

#: Stands for a character of a free text that must not be shown.
REPLACED: Final = "\ufffd"
#: How many digits of its hash distinguish an identifier that gets too long when it is spelled out.
_DIGEST: Final = 16
#: As numbers: Python takes a search for bytes in bytes as one for a number first, and the failure of that takes ten
#: times as long as the search.
BACKSLASH: Final = 0x5C
DELETE: Final = 0x7F


def is_plain(raw: bytes) -> bool:
    """Return whether JSON bytes are plain ASCII without an escape, so hold no such character. Cheap: a hot path."""
    return raw.isascii() and BACKSLASH not in raw and DELETE not in raw


def printable(text: str) -> str:
    """Return the text for a terminal or a log, each character that must not be shown as `?`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def trimmed(text: str) -> str:
    """Return the text without spaces and characters that must not be shown at its ends."""
    start, end = 0, len(text)
    while start < end and not _is_shown(text[start]):
        start += 1
    while end > start and not _is_shown(text[end - 1]):
        end -= 1
    return text[start:end]


def one_line(text: str) -> str:
    """Put a free text on one line: line breaks and tabs become a space, what must not be shown U+FFFD; never grows."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else REPLACED for c in trimmed(text))


def all_on_one_line(value: Any) -> Any:
    """Return a JSON value with every string on one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {name: all_on_one_line(item) for name, item in value.items()}
    return [all_on_one_line(item) for item in value] if isinstance(value, list) else value


def spelled(text: str, limit: int = 200) -> str:
    r"""Spell out what must not be shown in an identifier, as `\u001b`: two that differ stay different.

    Printable ones stay as they are. One that gets longer than `limit` characters ends in a part of its hash.
    """
    if text.isprintable():
        return text
    found = "".join(c if c.isprintable() and c != "\\" else _spell(c) for c in text)
    if len(found) <= limit:
        return found
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{found[: limit - _DIGEST - 1]}~{digest}"


def _spell(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_shown(character: str) -> bool:
    return character.isprintable() and character != " "
