"""The screen's texts, one file a language, and which language a browser gets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LANGUAGES: Final = ("en", "de")
COOKIE: Final = "dialysis_board_lang"
_LONGEST_HEADER: Final = 200
_PLACE: Final = re.compile(r"\{(\w+)\}")


def chosen(query: str | None, cookie: str | None, accepted: str | None) -> str:
    """Return the language: of the address, else of the cookie, else what the browser likes most; else English."""
    for wanted in (query, cookie):
        if wanted in LANGUAGES:
            return str(wanted)
    weighed = []
    for place, part in enumerate((accepted or "")[:_LONGEST_HEADER].lower().split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        language = tag.partition("-")[0]
        if language in LANGUAGES and weight > 0:
            weighed.append((-weight, place, language))
    return min(weighed)[2] if weighed else LANGUAGES[0]


def filled(text: str, values: Mapping[str, Any]) -> str:
    """Fill the places of a text, as {minutes}; a place without a value stays, so that it is noticed."""
    return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)


def read_texts(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the texts of all languages; what a language has not is in English."""
    found: dict[str, dict[str, Any]] = {}
    for language in LANGUAGES:
        path = folder / f"{language}.toml"
        own = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found[language] = _over(found.get(LANGUAGES[0], {}), own)
    return found


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one language's texts over another's, tables in tables too."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
