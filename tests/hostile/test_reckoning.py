"""What is lost, made up, late or too large is seen as such, and the document keeps what others wrote."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from tests.chaos.scene import Scene
from tests.hostile.cases import CASES
from tests.hostile.report import PATH, section, section_of, with_section
from tests.hostile.stage import LOW_MAGNESIUM, Case, Outcome, Stage
from tests.integration.unit_under_test import UnitUnderTest

_Record: Any = ConsumerRecord


async def _nothing(stage: Stage) -> None:
    """No attack."""


def told(patient: str, ms: int, rule: str = LOW_MAGNESIUM, transition: str = "raised") -> Any:
    value = json.dumps({"patient_id": patient, "rule": rule, "transition": transition}).encode()
    return _Record("t", 0, 0, ms, 1, patient.encode(), value, None, 0, len(value), ())


@pytest.fixture
def stage() -> Stage:
    unit = UnitUnderTest("127.0.0.1:1")
    outcome = Outcome(Case("none", "nothing", _nothing, worst_s=0.5, growth_mb=10), start_mb=70, peak_mb=75)
    made = Stage(unit, Scene(unit, random.Random(1)), outcome, {("a", LOW_MAGNESIUM): 1000, ("b", LOW_MAGNESIUM): 2000})
    made._began_ms = 1500
    return made


def test_all_is_well(stage: Stage) -> None:
    stage.innocent.add("c")
    # A repeat counts by its first, and what is told of somebody else is no concern of ours.
    stage.reckon([told("a", 1100), told("b", 2400), told("b", 9000), told("attacker", 1, "data_quality")])
    assert (stage.outcome.calm, stage.outcome.delays) == ([0.1], [0.4])
    assert stage.outcome.kept
    assert stage.outcome.wrong == []


def test_what_is_lost_is_named(stage: Stage) -> None:
    stage.reckon([told("a", 1100), told("b", 2100, "data_quality")])
    assert stage.outcome.lost == ["b"]
    assert not stage.outcome.kept


@pytest.mark.parametrize(
    "extra", [told("c", 1), told("a", 1200, transition="withdrawn"), told("a", 1200, "data_quality")]
)
def test_what_is_made_up_is_named(stage: Stage, extra: Any) -> None:
    stage.innocent.add("c")
    stage.reckon([told("a", 1100), told("b", 2100), extra])
    assert len(stage.outcome.made_up) == 1
    assert not stage.outcome.kept


def test_late_alerts_and_memory_are_seen(stage: Stage) -> None:
    stage.reckon([told("a", 5000), told("b", 2501)])
    assert not stage.outcome.in_time, "the attack counts, and not the calm before it"
    assert stage.outcome.wrong == []
    assert not stage.outcome.kept
    stage.outcome.peak_mb = 81
    assert stage.outcome.wrong == ["grew by 11 MB, 10 promised"]


def test_a_case_without_others_proves_nothing(stage: Stage) -> None:
    stage.planted.clear()
    stage.reckon([])
    assert not stage.outcome.kept


def test_the_document_keeps_what_others_wrote(stage: Stage) -> None:
    stage.reckon([told("a", 1100), told("b", 2400)])
    first, second = section([stage.outcome], 60, 0.1), section([stage.outcome] * 2, 60, 0.1)
    text = with_section("# Reliability\n\nOther words.\n", first)
    assert text.startswith("# Reliability\n\nOther words.\n")
    assert section_of(text) == first
    again = with_section(text + "\nMore words.\n", second)
    assert section_of(again) == second
    assert "Other words." in again
    assert again.endswith("\nMore words.\n")
    assert with_section(again, "") == again
    assert "| none | nothing | 2 | 0 | 0 | 0.40 | 0.5 | 70 to 75 | +10 | kept |" in second


def test_every_case_has_its_row() -> None:
    rows = [line for line in section_of(PATH.read_text(encoding="utf-8")).splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [f"| {case.name}" for case in CASES], "run: make hostile"
