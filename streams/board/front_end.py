"""The front end's files: templates, texts and static files, read once at the start."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader

from streams.board.languages import read_texts

FOLDER: Final = Path(__file__).with_name("front")
#: Smaller files gain nothing from compression.
_WORTH_BYTES: Final = 256
_TEXTUAL: Final = ("text/", "application/json", "application/javascript", "image/svg+xml", "text/javascript")
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file for the browser; `packed` is the same with gzip, where that is smaller."""

    body: bytes
    packed: bytes | None
    content_type: str
    etag: str


class FrontEnd:
    """Renders pages, and gives out static files by name: nothing is read from the disk for a request."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.texts: Mapping[str, dict[str, Any]] = read_texts(folder / "texts")
        self.files = _read_files(folder / "static")
        self._templates = Environment(
            loader=FileSystemLoader(folder / "templates"), autoescape=True, auto_reload=False, cache_size=50
        )
        # A room of 500 chairs is 1.5 MB of JSON: `tojson` escapes what this encoder returns, at a quarter of the time.
        self._templates.policies["json.dumps_function"] = _dumps

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Render a page; every value is escaped."""
        return self._templates.get_template(template).render(values)

    def text(self, language: str, key: str, otherwise: str) -> str:
        """Return a text of the front end, or another where it has none."""
        return str(self.texts[language].get(key, otherwise))


def _dumps(value: Any, **_: Any) -> str:
    return msgspec.json.encode(value).decode()


def _read_files(folder: Path) -> dict[str, StaticFile]:
    if not folder.is_dir():
        return {}
    return {path.name: _read_file(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _read_file(path: Path) -> StaticFile:
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = kind.startswith(_TEXTUAL)
    packed = gzip.compress(body, mtime=0) if is_text and len(body) >= _WORTH_BYTES else None
    return StaticFile(
        body=body,
        packed=packed if packed and len(packed) < len(body) else None,
        content_type=f"{kind}; charset=utf-8" if is_text else kind,
        etag=hashlib.sha256(body).hexdigest()[:32],
    )
