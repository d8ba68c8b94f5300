"""Text that others wrote, made fit to be shown: one line, and nothing that a terminal or a screen would act on.

What `str.isprintable` denies goes: control characters, escapes, line and bidi controls, characters without width,
lone surrogates, private and unassigned ones.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

#: Stands for a character of a free text that must not be shown.
REPLACED: Final = "\ufffd"
#: Of an identifier that gets too long when it is spelled out, so many digits of its hash keep it apart.
_DIGEST: Final = 16
#: As numbers: whether bytes are in bytes is first asked as if they were a number, and the failure of that takes ten
#: times as long as the search.
BACKSLASH: Final = 0x5C
DELETE: Final = 0x7F


def is_plain(raw: bytes) -> bool:
    """Whether JSON bytes cannot hold such a character: plain ASCII without an escape. Cheap, for the hot path."""
    return raw.isascii() and BACKSLASH not in raw and DELETE not in raw


def printable(text: str) -> str:
    """The text for a terminal or a log, each character that must not be shown as `?`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def trimmed(text: str) -> str:
    """The text without space, and without what cannot be shown, at its ends."""
    start, end = 0, len(text)
    while start < end and not _is_shown(text[start]):
        start += 1
    while end > start and not _is_shown(text[end - 1]):
        end -= 1
    return text[start:end]


def one_line(text: str) -> str:
    """A free text on one line: line breaks and tabs become a space, what must not be shown U+FFFD. It never grows."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else REPLACED for c in trimmed(text))


def all_on_one_line(value: Any) -> Any:
    """A JSON value with every string on one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {name: all_on_one_line(item) for name, item in value.items()}
    return [all_on_one_line(item) for item in value] if isinstance(value, list) else value


def spelled(text: str, limit: int = 200) -> str:
    r"""An identifier with what must not be shown spelled out, as `\u001b`: two that differ stay different.

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
