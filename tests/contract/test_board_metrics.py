"""The metrics of the unit screen are those of the contract, with their labels and their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.board.blindness import BlindCode
from streams.board.board_metrics import BoardMetrics
from streams.board.foreign_records import Unreadable

_ROOT: Final = Path(__file__).parents[2]
_ROW: Final = re.compile(r"^\| `(dialysis_\w+)(?:\{([\w,]+)\})?` \| (\w+) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def section() -> str:
    contract = (_ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    return contract.partition("## HTTP of the unit screen")[2].partition("\n## ")[0]


def test_names_kinds_and_labels(section: str) -> None:
    metrics = BoardMetrics()
    labelled = (metrics.records, metrics.unreadable, metrics.answers, metrics.sign_ins, metrics.blind)
    for each in labelled:
        each.labels(*("x" for _ in each._labelnames))
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    there = {
        f"{each.name}_total" if each.type == "counter" else each.name: (each.type, set(each.samples[0].labels))
        for each in families
        if each.name.startswith("dialysis_")
    }
    written = {
        name: (kind, set(labels.split(",") if labels else [])) for name, labels, kind, _ in _ROW.findall(section)
    }
    assert written == there


def test_values_of_the_labels(section: str) -> None:
    rows = {name: set(re.findall(r"`(\w+)`", text)) for name, _, _, text in _ROW.findall(section)}
    assert rows["dialysis_board_blind"] == set(BlindCode)
    assert rows["dialysis_board_unreadable_records_total"] == set(Unreadable)
    board = _ROOT / "streams" / "board"
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(board.glob("*.py")))
    answers = set(re.findall(r'answers\.labels\([\w."]+, "(\w+)"\)', code)) | {"any"}
    assert rows["dialysis_board_answers_total"] == answers
    sign_ins = {
        name for call in re.findall(r"sign_ins\.labels\((.+?)\)", code) for name in re.findall(r'"(\w+)"', call)
    }
    assert rows["dialysis_board_sign_ins_total"] == sign_ins
