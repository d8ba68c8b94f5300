"""A site's rule settings: TOML in, thresholds in force out, and every fault named at once."""

from __future__ import annotations

import math
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.state import LONGEST_WINDOW
from streams.rules.aluminum_level import AluminumLevelLimits
from streams.rules.api import Rule
from streams.rules.catalogue import (
    ALL_RULES,
    RuleSettings,
    RuleSettingsError,
    default_settings,
    load_settings,
    parse_settings,
)
from streams.rules.facts.cramps import CrampLimits
from streams.rules.facts.known_magnesium import LowMagnesiumLimits
from streams.rules.settings_checks import MAX_WORDS, marked, shown
from streams.rules.settings_file import MAX_BYTES
from streams.rules.thresholds import Lasting


def write(folder: Path, text: str) -> Path:
    file = folder / "rules.toml"
    file.write_text(text, encoding="utf-8")
    return file


def magnesium(field: str, mg_dl: float, mmol_l: float, meq_l: float) -> str:
    return f'[low_magnesium]\n{field} = {{"mg/dL" = {mg_dl}, "mmol/L" = {mmol_l}, "meq/L" = {meq_l}}}\n'


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(RuleSettingsError) as caught:
        load_settings(write(folder, text))
    return [line.removeprefix(f"{folder / 'rules.toml'}: ") for line in str(caught.value).splitlines()]


def test_without_a_file_every_rule_is_on_with_the_clinical_thresholds() -> None:
    found = load_settings(None)
    assert all(found.is_on(rule) for rule in ALL_RULES)
    assert found.limits("low_magnesium", LowMagnesiumLimits).low == {"mg/dL": 1.7, "mmol/L": 0.70, "meq/L": 1.4}
    assert found.limits("low_magnesium", LowMagnesiumLimits).severe == {"mg/dL": 1.0, "mmol/L": 0.41, "meq/L": 0.82}
    assert found.limits("aluminum_level", AluminumLevelLimits).acute == {"ug/L": 400, "umol/L": 14.83, "nmol/L": 14830}
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
            [aluminum_result_overdue]
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
    assert found.limits("intradialytic_cramp", CrampLimits).silence_minutes == 45
    assert [rule.name for rule in ALL_RULES if not found.is_on(rule)] == ["aluminum_result_overdue"]
    assert (found.responses.high, found.responses.medium) == ([30, 120], [300, 1800])
    assert found.limits("low_magnesium", LowMagnesiumLimits).low["mg/dL"] == 1.8
    assert found.limits("low_magnesium", LowMagnesiumLimits).severe["mg/dL"] == 1.0


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
        ("[low_magnesium]\nqtc_ms = inf\n", "low_magnesium.qtc_ms: is inf: should be a finite number"),
        ("[low_magnesium]\nqtc_ms = nan\n", "low_magnesium.qtc_ms: is nan: should be a finite number"),
        ("[low_magnesium]\nqtc_ms = 1e400\n", "low_magnesium.qtc_ms: is inf: should be a finite number"),
        (f"[low_magnesium]\nqtc_ms = {10**400}\n", "low_magnesium.qtc_ms: is 1000"),
        ("[low_magnesium]\nqtc_ms = 1000\n", "low_magnesium.qtc_ms: is 1000: should be less than or equal to 800"),
        (
            "[intradialytic_cramp]\nsilence_minutes = 1e12\n",
            "intradialytic_cramp.silence_minutes: is 1000000000000.0: ",
        ),
        ("[aluminum_result_overdue]\nresult_days = 1e300\n", "aluminum_result_overdue.result_days: is 1e+300: "),
        ("[aluminum_cluster]\npatients = 100000\n", "aluminum_cluster.patients: is 100000: "),
        ("[responses]\nhigh = [1e12]\n", "responses.high.0: is 1000000000000.0: should be less than or equal to 86400"),
        ("[responses]\nhigh = [inf]\n", "responses.high.0: is inf: should be a finite number"),
        ("[responses]\nmedium = [900, 300]\n", "responses.medium: is [900, 300]: each delay must be longer than"),
        ("[responses]\nenabled = false\n", "responses.enabled: is False: no such threshold"),
        (magnesium("low", -1.7, -0.7, -1.4), "low_magnesium.low: is {'meq/L': -1.4, "),
        (magnesium("low", 170, 70, 140), "low_magnesium.low: is {'meq/L': 140"),
        (
            magnesium("severe", 2.0, 0.823, 1.646),
            "low_magnesium.severe: is 2 mg/dL: must lie below low, which is 1.7 mg/dL",
        ),
        ("[aluminum_result_overdue]\nspecimen_hours = 300\n", "aluminum_result_overdue.specimen_hours: is 300: must"),
        (f"[low_magnesium]\nqtc_ms = {hex(16**6000)}\n", "low_magnesium.qtc_ms: is a value too large to show: "),
        (f"[low_magnesium]\n{'a.' * 5000}a = 1\n", "low_magnesium.a: is {'a': {'a': "),
        (f"x = {'[' * 5000}\n", "is not TOML that can be used: it is nested too deeply"),
        (f"x = {'9' * 5000}\n", "is not TOML: Exceeds the limit"),
        ('["a\\nb\\u001b[1m"]\n', "a?b?[1m: no such rule; there are "),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("bounds", "off"),
    [
        ((1.7, 1.7, 1.4), ["1.7 mmol/L does not match 1.7 mg/dL, which is 0.699 mmol/L"]),
        ((0.7, 0.7, 1.4), ["0.7 mg/dL does not match 0.7 mmol/L, which is 1.7 mg/dL"]),
        ((1.7, 0.7, 0.7), ["0.7 meq/L does not match 1.7 mg/dL, which is 1.4 meq/L"]),
        # None agrees with another: what is nearest to the shipped bound is believed.
        (
            (1.7, 1.7, 1.7),
            [
                "1.7 mmol/L does not match 1.7 mg/dL, which is 0.699 mmol/L",
                "1.7 meq/L does not match 1.7 mg/dL, which is 1.4 meq/L",
            ],
        ),
        ((1.8, 0.7, 1.4), ["1.8 mg/dL does not match 0.7 mmol/L, which is 1.7 mg/dL"]),
        ((1.8, 0.74, 1.48), []),
        ((1.8, 0.75, 1.5), []),
    ],
)
def test_a_bound_that_does_not_match_its_other_units_is_named(
    tmp_path: Path, bounds: tuple[float, float, float], off: list[str]
) -> None:
    if not off:
        assert load_settings(write(tmp_path, magnesium("low", *bounds))).risks == ()
        return
    found = problems(tmp_path, magnesium("low", *bounds))
    assert found == [f"low_magnesium.low: {sentence}: correct the one that is wrong" for sentence in off]


def test_every_shipped_threshold_passes_its_own_checks() -> None:
    every = {rule.name: rule.limits().model_dump() for rule in ALL_RULES}
    assert parse_settings(every).hash == default_settings().hash


def test_aluminium_bands_ascend(tmp_path: Path) -> None:
    bands = '[aluminum_level]\nraised = {"ug/L" = 70, "umol/L" = 2.59, "nmol/L" = 2594}\n'
    (found,) = problems(tmp_path, bands)
    assert found == "aluminum_level.raised: is 70 ug/L: must lie below high, which is 60 ug/L"


def test_what_is_no_file_of_text_is_one_sentence(tmp_path: Path) -> None:
    pipe, large, hidden = tmp_path / "pipe", tmp_path / "large.toml", tmp_path / "a\x1b[1m"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for path, words in (
        (tmp_path, "cannot be read: Is a directory: name a TOML file"),
        (pipe, "is not an ordinary file"),
        (Path("/dev/null"), "is not an ordinary file"),
        (large, "is larger than 256 KiB"),
        (hidden, "cannot be read: No such file"),
        (Path("a\0b"), "is no path"),
        (Path("x" * 5000), "cannot be read: File name too long"),
    ):
        with pytest.raises(RuleSettingsError) as caught:
            load_settings(path)
        (line,) = caught.value.problems
        assert words in line
        assert line.isprintable()


def test_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(b"\xef\xbb\xbf[low_magnesium]\r\nqtc_ms = 470\r\n")
    assert load_settings(file).limits("low_magnesium", LowMagnesiumLimits).qtc_ms == 470


# -- what silences a critical band -------------------------------------------------------------------------------------

SILENCING = [
    ("low_magnesium", "enabled = false", "enabled: is false"),
    ("low_magnesium", magnesium("severe", 0.8, 0.33, 0.66).partition("\n")[2], "severe: is 0.8 (shipped 1) mg/dL, "),
    ("low_magnesium", magnesium("low", 1.5, 0.617, 1.234).partition("\n")[2], "low: is 1.5 (shipped 1.7) mg/dL, "),
    ("low_magnesium", "qtc_ms = 500", "qtc_ms: is 500 (shipped 480): higher than shipped"),
    ("aluminum_suspicion", "enabled = false", "enabled: is false"),
    ("aluminum_suspicion", "together_days = 1", "together_days: is 1 (shipped 7): lower than shipped"),
    ("aluminum_level", "enabled = false", "enabled: is false"),
    (
        "aluminum_level",
        'encephalopathy = {"ug/L" = 160, "umol/L" = 5.93, "nmol/L" = 5930}',
        "encephalopathy: is 160 (shipped 150) ug/L, ",
    ),
    ("aluminum_cluster", "patients = 3", "patients: is 3 (shipped 2): higher than shipped"),
    ("responses", "high = []", "high: unanswered alerts of priority high are never called again"),
    ("responses", "high = [3600]", "high: unanswered alerts of priority high are first called again after 3600 s"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), SILENCING)
def test_what_silences_a_critical_band_needs_who_and_why(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (found,) = problems(tmp_path, f"[{name}]\n{text}\n")
    assert found.startswith(f"{name}.{sentence}")
    assert found.endswith(f'; undo it, or add accept_risk = "who and why" to [{name}]')
    accepted = load_settings(write(tmp_path, f"[{name}]\naccept_risk = ' Dr Roe: our protocol '\n{text}\n"))
    (risk,) = accepted.risks
    assert (risk.name, risk.accepted) == (name, "Dr Roe: our protocol")
    assert risk.silenced[0].startswith(sentence)
    assert accepted.hash != default_settings().hash


@pytest.mark.parametrize("words", ["''", "'  '", "true", "1", f"'{'x' * 201}'", '"two\\nlines"', '"\\u001b[1m"'])
def test_words_that_accept_nothing(tmp_path: Path, words: str) -> None:
    (found,) = problems(tmp_path, f"[low_magnesium]\nenabled = false\naccept_risk = {words}\n")
    assert found.startswith("low_magnesium.accept_risk: is ")
    assert "who and why" in found
    assert found.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "[data_quality]\nenabled = false\n",
        "[intradialytic_cramp]\nenabled = false\n",
        "[responses]\nhigh = [30, 120]\nmedium = []\n",
        "[responses]\nhigh = [900]\n",
        "[low_magnesium]\nqtc_ms = 470\n",
        "[low_magnesium]\naccept_risk = 'Dr Roe: nothing to accept'\n",
        magnesium("severe", 1.2, 0.494, 0.987),
    ],
)
def test_what_silences_nothing_needs_no_words(tmp_path: Path, text: str) -> None:
    assert load_settings(write(tmp_path, text)).risks == ()


def test_a_risk_needs_the_rule_that_says_of_whom(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "[data_quality]\nenabled = false\n[low_magnesium]\nenabled = false\naccept_risk = 'Dr Roe: why'\n"
    )
    assert found.startswith("data_quality.enabled: must be true")


# -- whatever a file holds ---------------------------------------------------------------------------------------------


class Unprintable(int):
    """A number too long to be written out in decimal; hypothesis wants to print its examples."""

    def __repr__(self) -> str:
        return "Unprintable()"


_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([1e308, -0.0, 10**400, Unprintable(16**6000), 1.7, 0.7, 1.4, "mg/dL"]),
        st.datetimes(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["mg/dL", "mmol/L", "meq/L", "ug/L", "umol/L", "nmol/L", "x"]), inner),
    ),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    [
        *(field for rule in ALL_RULES for field in rule.limits.model_fields),
        "high",
        "medium",
        "enabled",
        "accept_risk",
        "\n",
    ]
)
_TABLES = st.dictionaries(
    st.one_of(st.sampled_from([*(rule.name for rule in ALL_RULES), "responses"]), st.text(max_size=10)),
    st.one_of(_VALUES, st.dictionaries(_FIELDS, _VALUES, max_size=4)),
    max_size=4,
)


def outcome(tables: dict[str, Any]) -> tuple[RuleSettings | None, list[str]]:
    try:
        return parse_settings(tables), []
    except RuleSettingsError as error:
        return None, error.problems


@given(_TABLES)
def test_any_tables_are_settings_or_lines(tables: dict[str, Any]) -> None:
    """Whatever is accepted is positive and finite; whatever is not, is short lines of text."""
    found, lines = outcome(tables)
    assert (found is None) == bool(lines)
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    for limits in (*found.by_rule.values(), found.responses) if found else ():
        for value in limits.model_dump().values():
            numbers = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            assert all(math.isfinite(number) and number > 0 for number in numbers)


@given(st.sampled_from(ALL_RULES), st.data())
def test_any_duration_that_is_accepted_is_within_the_calendar(rule: Rule[Any], data: st.DataObject) -> None:
    for field, lasting in marked(rule.limits, Lasting):
        number = data.draw(st.floats() | st.integers())
        found, _ = outcome({rule.name: {field: number, "accept_risk": "a test"}})
        if found:
            assert timedelta(0) <= lasting.one * getattr(found.by_rule[rule.name], field) <= LONGEST_WINDOW


@given(st.binary(max_size=300))
def test_any_bytes_are_settings_or_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.toml"
        file.write_bytes(content)
        try:
            lines = [load_settings(file).hash]
        except RuleSettingsError as error:
            lines = error.problems
    assert all(line.isprintable() for line in lines)


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
        parse_settings({"low_magnesium": {"qtc_ms": 470.0}}).hash,
        parse_settings({"low_magnesium": {"enabled": False, "accept_risk": "a test"}}).hash,
        parse_settings({"responses": {"high": [60.0]}}).hash,
    ]
    assert len({default, *others}) == 4


def test_a_long_value_is_shown_in_short() -> None:
    long = shown([[["x" * 100] * 50] * 50] * 50)
    assert len(long) == MAX_WORDS
    assert long.endswith("x…")
