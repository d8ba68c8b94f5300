"""What `rules`, `rules show` and `rules check` print of a site's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.commands.rules import check_rules, list_rules, show_rule

RISKY = """
[low_magnesium]
enabled = false
accept_risk = "Dr Roe: watched by the laboratory"
[responses]
high = []
accept_risk = "Dr Roe: the pager calls again"
"""
SAID = [
    (
        "risk accepted in [low_magnesium]: enabled: is false: what the rule calls high is not called at all; "
        "accepted: Dr Roe: watched by the laboratory"
    ),
    (
        "risk accepted in [responses]: high: unanswered alerts of priority high are never called again "
        "(shipped: after 60 s); accepted: Dr Roe: the pager calls again"
    ),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


def test_an_accepted_risk_is_in_all_three(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(RISKY)
    for status in (check_rules(file), list_rules(file), show_rule("low_magnesium", file)):
        assert status == 0
    out = capsys.readouterr().out
    for sentence in SAID:
        assert out.count(sentence) == 3
    assert "low_magnesium version 1, off, risk accepted" in out
    assert "responses.high = none (default 60 and 300)" in out


def test_without_a_risk_none_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[low_magnesium]\nqtc_ms = 470\n")
    assert (check_rules(file), list_rules(file)) == (0, 0)
    assert "risk accepted" not in capsys.readouterr().out


def test_every_problem_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        '[nonsense]\n[low_magnesium]\nqtc_ms = -1\nlow = {"mg/dL" = 1.7, "mmol/L" = 1.7, "meq/L" = 1.4}\n'
        "[responses]\nhigh = [1e12, 5]\n[aluminum_cluster]\nenabled = false\n"
    )
    assert check_rules(file) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.removeprefix(f"{file}: ").split(":")[0] for line in said.err.splitlines()] == [
        "nonsense",
        "low_magnesium.qtc_ms",
        "low_magnesium.low",
        "aluminum_cluster.enabled",
        "responses.high.0",
    ]
    assert list_rules(file) == 2
    assert all(line.startswith(f"DIALYSIS_RULES: {file}: ") for line in capsys.readouterr().err.splitlines())
