"""`replay`: what goes to standard output and error, exit statuses, options, and the same bytes twice."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from streams.commands import replay
from tests.unit.timeline import moment

LOW = {
    "type": "lab_result", "patient_id": "p1", "at": "2026-11-23T08:00:00Z", "result_id": "r1", "analyte": "magnesium",
    "value": 1.5, "unit": "mg/dL",
}  # fmt: skip
EXAMPLE = "2026-11-23T07:30:00+01:00"
NORMAL = LOW | {"at": "2026-11-23T10:00:00Z", "result_id": "r2", "value": 2.0}
CRAMP = {"type": "symptom", "patient_id": "p1", "at": "2026-11-23T08:30:00Z", "symptom_id": "c1", "kind": "cramp"}
SESSION = {
    "type": "session_started", "patient_id": "p1", "at": "2026-11-23T08:00:00Z", "session_id": "s1", "machine_id": "m1",
}  # fmt: skip


def lines(*events: dict[str, Any] | str | bytes) -> bytes:
    raw = [event if isinstance(event, bytes) else str.encode(event if isinstance(event, str) else json.dumps(event))
           for event in events]  # fmt: skip
    return b"\n".join(raw) + b"\n"


class Run:
    """One run of the command's function: exit status, alerts, standard error."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes], file: str, **options: Any) -> None:
        capfdbinary.readouterr()
        self.status = replay.run(file, **options)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        self.out, self.err = out, err.decode()

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def steps(self) -> list[str]:
        return [f"{alert['at'][11:16]} {alert['rule']} {alert['transition']}" for alert in self.alerts]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def until(when: str) -> datetime:
    return moment(when)


def test_transitions_one_a_line_in_order(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(LOW, NORMAL))
    done = Run(capfdbinary, str(file))
    assert (done.status, done.err) == (0, "")
    assert done.steps == [
        "08:00 low_magnesium raised",
        "08:05 low_magnesium escalated",
        "08:30 low_magnesium escalated",
        "10:00 low_magnesium resolved",
    ]
    assert [alert["revision"] for alert in done.alerts] == [1, 2, 3, 4]


def test_no_wall_clock_and_the_same_bytes_twice(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(SESSION, LOW, CRAMP, NORMAL, LOW | {"value": 0.9, "result_id": "r3", "patient_id": "p2"}))
    first = Run(capfdbinary, str(file), until=until("d2 00:00")).out
    assert first == Run(capfdbinary, str(file), until=until("d2 00:00")).out
    assert len(first.splitlines()) > 8


def test_standard_input(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(LOW, "x"))))
    done = Run(capfdbinary, "-")
    assert done.steps == ["08:00 low_magnesium raised"]
    assert done.err.startswith("<stdin>:2: ")


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_tells_nothing(file: Path, capfdbinary: pytest.CaptureFixture[bytes], content: bytes) -> None:
    file.write_bytes(content)
    done = Run(capfdbinary, str(file), strict=True)
    assert (done.status, done.out, done.err) == (0, b"", "")


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_line_endings_and_a_last_line_without(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes], ending: bytes
) -> None:
    file.write_bytes(ending.join([json.dumps(LOW).encode(), json.dumps(NORMAL).encode()]))
    assert len(Run(capfdbinary, str(file)).alerts) == 4


# -- unusable lines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LOW | {"value": "1.2"}, r"value: should be a valid number (wrong_type)"),
        (LOW | {"value": True}, r"value: should be a valid number (wrong_type)"),
        (LOW | {"at": "2026-11-23T08:00:00"}, f"at: needs an offset, for example {EXAMPLE} (naive_timestamp)"),
        ({key: value for key, value in LOW.items() if key != "unit"}, "unit: Field required (missing_field)"),
        ({"type": "birthday"}, None),
        ("{", None),
        (b"\xff", None),
        ("[]", None),
        ("[" * 100_000, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_an_unusable_line_is_reported_and_the_others_still_count(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes], line: Any, said: str | None, strict: bool
) -> None:
    file.write_bytes(lines("", LOW, line, NORMAL))
    done = Run(capfdbinary, str(file), strict=strict)
    assert done.status == (1 if strict else 0)
    assert len(done.alerts) == 4
    (report,) = done.err.splitlines()
    assert report.startswith(f"{file}:3: ")
    assert report.endswith(")")
    if said:
        assert report == f"{file}:3: {said}"


def test_strict_without_a_fault_is_0(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(LOW))
    assert Run(capfdbinary, str(file), strict=True).status == 0


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_a_file_that_cannot_be_read_is_wrong_use(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    done = Run(capfdbinary, str(tmp_path / name))
    assert (done.status, done.out) == (2, b"")
    assert "cannot be read" in done.err


@pytest.mark.parametrize("option", ["rules", "compare"])
def test_rule_settings_that_are_wrong_are_wrong_use(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], option: str
) -> None:
    file.write_bytes(lines(LOW))
    site = tmp_path / "site.toml"
    site.write_text("[low_magnesum]\n")
    done = Run(capfdbinary, str(file), **{option: site})
    assert (done.status, done.out) == (2, b"")
    assert "low_magnesum: no such rule" in done.err


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_lines_are_applied_in_file_order_whatever_their_time(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file.write_bytes(lines(NORMAL, LOW))
    assert Run(capfdbinary, str(file)).out == b""  # the normal one is the newest specimen


def test_received_at_is_the_clock_where_given(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(LOW | {"received_at": "2026-11-23T09:15:00Z"}))
    (alert,) = Run(capfdbinary, str(file)).alerts
    assert (alert["at"], alert["onset_at"]) == ("2026-11-23T09:15:00Z", "2026-11-23T08:00:00Z")


def test_until_runs_the_clock_on_and_absences_fire_at_their_own_time(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file.write_bytes(lines(SESSION, CRAMP))
    assert Run(capfdbinary, str(file)).steps == ["08:30 intradialytic_cramp raised"]
    assert Run(capfdbinary, str(file), until=until("12:00")).steps == [
        "08:30 intradialytic_cramp raised",
        "08:35 intradialytic_cramp escalated",
        "09:00 intradialytic_cramp expired",
        "10:30 symptom_workup_incomplete raised",
    ]


def test_until_itself_is_included(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(SESSION, CRAMP))
    assert len(Run(capfdbinary, str(file), until=until("08:59:59")).alerts) == 2
    assert len(Run(capfdbinary, str(file), until=until("09:00")).alerts) == 3


def test_until_before_the_last_line_changes_nothing(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(LOW, NORMAL))
    assert Run(capfdbinary, str(file), until=until("07:00")).out == Run(capfdbinary, str(file)).out


def test_endings_come_before_escalations_of_the_same_moment(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """At 09:00 one cramp expires and the other patient's low magnesium calls for the second time."""
    file.write_bytes(lines(LOW | {"patient_id": "a", "at": "2026-11-23T08:30:00Z"}, SESSION, CRAMP))
    steps = Run(capfdbinary, str(file), until=until("09:00")).steps
    assert steps[-2:] == ["09:00 intradialytic_cramp expired", "09:00 low_magnesium escalated"]


# -- a line far ahead of the others ------------------------------------------------------------------------------------


def test_a_line_far_ahead_of_those_after_it_is_said_once(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(LOW | {"patient_id": "p9", "at": "2199-01-01T00:00:00Z"}, "", LOW, NORMAL))
    done = Run(capfdbinary, str(file))
    (line,) = done.err.splitlines()
    assert line.startswith(f"{file}:1: its time, 2199-01-01T00:00:00+00:00, lies 62860 days ahead of line 3: ")
    assert done.status == 0


@pytest.mark.parametrize("days", ["2026-12-27", "2026-11-24"])
def test_lines_in_another_order_within_the_longest_window_are_no_fault(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes], days: str
) -> None:
    file.write_bytes(lines(LOW | {"patient_id": "p9", "at": f"{days}T09:00:00Z"}, LOW, NORMAL))
    assert Run(capfdbinary, str(file)).err == ""


def test_what_cannot_be_read_to_its_end_is_one_sentence(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    done = Run(capfdbinary, "/proc/self/mem")
    assert (done.status, done.out, done.err) == (1, b"", "/proc/self/mem: cannot be read on: Input/output error\n")


# -- settings and summary ----------------------------------------------------------------------------------------------


def test_a_sites_rules_are_in_force(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:  # fmt: skip
    file.write_bytes(lines(LOW))
    site = tmp_path / "site.toml"
    site.write_text("[low_magnesium]\nenabled = false\naccept_risk = 'a test'\n")
    assert Run(capfdbinary, str(file), rules=site).out == b""


def table(out: bytes) -> list[list[str]]:
    """The cells of a printed table, row by row."""
    rows = [line.strip("│┃ ") for line in out.decode().splitlines() if "│" in line]
    return [[cell.strip() for cell in row.split("│")] for row in rows]


def test_the_summary_counts_by_rule(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file.write_bytes(lines(SESSION, LOW, CRAMP, NORMAL))
    done = Run(capfdbinary, str(file), summary=True)
    # high, medium, low, info, transitions, unanswered, open; the cramp makes the low magnesium high at 08:30
    assert table(done.out) == [
        ["low_magnesium", "0", "1", "0", "0", "7", "4", "0"],
        ["intradialytic_cramp", "0", "1", "0", "0", "3", "1", "0"],
        ["all", "0", "2", "0", "0", "10", "5", "0"],
    ]
    assert done.status == 0


def test_compare_stands_beside_it_and_reports_each_broken_line_once(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(lines(LOW, "x"))
    monkeypatch.chdir(tmp_path)
    Path("site.toml").write_text("[low_magnesium]\nenabled = false\naccept_risk = 'a test'\n")
    done = Run(capfdbinary, str(file), compare=Path("site.toml"), strict=True)
    assert table(done.out) == [
        ["low_magnesium", "default", "0", "1", "0", "0", "1", "0", "1"],
        ["site.toml", "0", "0", "0", "0", "0", "0", "0"],
        ["all", "default", "0", "1", "0", "0", "1", "0", "1"],
        ["site.toml", "0", "0", "0", "0", "0", "0", "0"],
    ]
    assert (done.status, len(done.err.splitlines())) == (1, 1)


def test_the_readme_shows_what_replay_prints(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").splitlines()
    file.write_text("".join(f"{line}\n" for line in readme if line.startswith('{"type"')), encoding="utf-8")
    names = ("at", "transition", "reason", "priority", "summary")
    printed = ["  ".join(alert[name] for name in names) for alert in Run(capfdbinary, str(file)).alerts]
    shown = [line for line in readme if line.startswith("2026-11-23T")]
    assert printed == shown
