"""The generated tables of docs/contract.md: `python -m models.contract_tables` writes them between their marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from models.alerts import Reason, Status, Transition
from models.events import Event
from models.schemas import event_models, schema_of
from models.topics import TopicSpec, all_topics

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "contract.md"
#: Fields that every event has; the table of events leaves them out.
_COMMON: Final = frozenset(Event.model_fields) | {"type"}
#: Names that a worker's settings give: those of the documentation.
_GROUP: Final = "dialysis-alerts"
_MAX_BYTES: Final = 1024 * 1024


def tables() -> dict[str, str]:
    """Return every table by its name."""
    return {"topics": _topics(), "events": _events(), "words of an alert": _words()}


def with_tables(text: str) -> str:
    """Return a document with the tables between their marks as they are now."""
    for name, table in tables().items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{table}{end}{tail}"
    return text


def _topics() -> str:
    rows = [(f"`{topic.name}`", topic.key, _kept(topic), topic.carries) for topic in all_topics(_GROUP, _MAX_BYTES)]
    return _table(("topic", "key", "cleanup", "carries"), rows)


def _kept(topic: TopicSpec) -> str:
    if topic.compacted:
        return "compact"
    days = int(topic.config["retention.ms"]) // (24 * 3600 * 1000)
    return f"delete after {days} days"


def _events() -> str:
    return _table(
        ("type", "fields (required in bold, descriptive in italics)"),
        [(f"`{name}`", ", ".join(_fields(model))) for name, model in event_models().items()],
    )


def _fields(model: type[BaseModel]) -> list[str]:
    schema: dict[str, Any] = schema_of(model)
    shown = []
    for name, field in schema["properties"].items():
        if name in _COMMON:
            continue
        mark = "**" if name in schema["required"] else "*" if field.get("x-descriptive") else ""
        shown.append(f"{mark}`{name}`{mark}")
    return shown or ["none of its own"]


def _words() -> str:
    rows = [
        (f"`{field}`", " · ".join(f"`{word}`" for word in words))
        for field, words in (("status", Status), ("transition", Transition), ("reason", Reason))
    ]
    return _table(("field", "values"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PATH.write_text(with_tables(PATH.read_text(encoding="utf-8")), encoding="utf-8")
