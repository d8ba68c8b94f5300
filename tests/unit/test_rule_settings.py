"""A site's rule settings: TOML in, thresholds in force out, and every fault named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.rules.aluminum_level import AluminumLevelLimits
from streams.rules.catalogue import ALL_RULES, RuleSettingsError, default_settings, load_settings, parse_settings
from streams.rules.cramp import CrampLimits
from streams.rules.magnesium import LowMagnesiumLimits


def write(folder: Path, text: str) -> Path:
    file = folder / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(RuleSettingsError) as caught:
        load_settings(write(folder, text))
    return [line.removeprefix(f"{folder / 'rules.toml'}: ") for line in str(caught.value).splitlines()]


def test_without_a_file_every_rule_is_on_with_the_clinical_thresholds() -> None:
    found = load_settings(None)
    assert all(found.is_on(rule) for rule in ALL_RULES)
    assert found.limits(LowMagnesiumLimits).low == {"mg/dL": 1.7, "mmol/L": 0.70, "meq/L": 1.4}
    assert found.limits(LowMagnesiumLimits).severe == {"mg/dL": 1.0, "mmol/L": 0.41, "meq/L": 0.82}
    assert found.limits(AluminumLevelLimits).acute == {"ug/L": 400, "umol/L": 14.83, "nmol/L": 14830}
    assert (found.responses.high, found.responses.medium) == ([60, 300], [300, 1800])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "")).hash == default_settings().hash


def test_what_a_site_sets(tmp_path: Path) -> None:
    found = load_settings(
        write(
            tmp_path,
            """
            [intradialytic_cramp]
            silence_minutes = 45.0
            [aluminum_cluster]
            enabled = false
            [responses]
            high = [30.0, 120.0]
            [low_magnesium.low]
            "mg/dL" = 1.8
            "mmol/L" = 0.74
            "meq/L" = 1.48
            """,
        )
    )
    assert found.limits(CrampLimits).silence_minutes == 45
    assert [rule.name for rule in ALL_RULES if not found.is_on(rule)] == ["aluminum_cluster"]
    assert (found.responses.high, found.responses.medium) == ([30, 120], [300, 1800])
    assert found.limits(LowMagnesiumLimits).low["mg/dL"] == 1.8
    assert found.limits(LowMagnesiumLimits).severe["mg/dL"] == 1.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[low_magnesum]\n", "low_magnesum: no such rule; there are "),
        ("low_magnesium = 1.8\n", "low_magnesium: should be a table, [low_magnesium]"),
        ("[low_magnesium]\nlimit = 1.8\n", "low_magnesium.limit: is 1.8: no such threshold; there are low, severe"),
        ('[low_magnesium]\nqtc_ms = "480"\n', "low_magnesium.qtc_ms: is '480': "),
        ("[low_magnesium]\nqtc_ms = -1.0\n", "low_magnesium.qtc_ms: is -1.0: "),
        ("[low_magnesium]\nenabled = 0\n", "low_magnesium.enabled: is 0, should be true or false"),
        (
            '[low_magnesium]\nlow = {"mg/dL" = 1.8}\n',
            "low_magnesium.low: is {'mg/dL': 1.8}: needs one bound for each of",
        ),
        ("[responses]\nhigh = [60.0, 300.0, 900.0]\n", "responses.high: is "),
        ("[responses]\nhigh = [0.0]\n", "responses.high.0: is 0.0: "),
        ("[responses]\nlow = [60.0]\n", "responses.low: is [60.0]: no such threshold"),
        ("[aluminum_cluster]\npatients = 1\n", "aluminum_cluster.patients: is 1: "),
        ("[low_magnesium\n", "is not TOML: "),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(problem)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "[nonsense]\n[low_magnesium]\nqtc_ms = -1.0\n[intradialytic_cramp]\nx = 1\n")
    assert [line.split(":")[0] for line in found] == ["nonsense", "low_magnesium.qtc_ms", "intradialytic_cramp.x"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuleSettingsError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleSettingsError, match="is not TOML"):
        load_settings(file)


def test_the_hash_tells_settings_apart_and_nothing_else() -> None:
    default = default_settings().hash
    assert parse_settings({"low_magnesium": {"qtc_ms": 480.0}}).hash == default
    others = [
        parse_settings({"low_magnesium": {"qtc_ms": 500.0}}).hash,
        parse_settings({"low_magnesium": {"enabled": False}}).hash,
        parse_settings({"responses": {"high": [60.0]}}).hash,
    ]
    assert len({default, *others}) == 4
