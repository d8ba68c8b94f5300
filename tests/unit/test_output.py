"""Commands whose output nobody can take: a full disk, a reader that left, no standard output at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = [sys.executable, "-m", "streams.cli"]
COMMANDS = ["--help", "--version", "topics", "rules", "rules show low_magnesium", "replay {}", "replay --summary {}"]
FULL = "The output cannot be written: No space left on device."
CLOSED = "The output cannot be written: Bad file descriptor."
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("DIALYSIS_")}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for more than a pipe holds."""
    file = tmp_path_factory.mktemp("output") / "events.jsonl"
    line = (
        '{{"type":"lab_result","patient_id":"p{0}","at":"2026-11-23T08:00:00Z","result_id":"r","analyte":"magnesium",'
        '"value":1.5,"unit":"mg/dL"}}\n'
    )
    file.write_text("".join(line.format(number) for number in range(200)))
    return file


def shell(command: str, redirection: str, events: Path, **environment: str) -> tuple[int, list[str]]:
    """Exit status and standard error of a command under a redirection."""
    words = [*CLI, *command.format(events).split()]
    script = f'"$@" {redirection}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        capture_output=True,
        env=ENVIRONMENT | environment,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.decode().splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_is_one_sentence(events: Path, command: str) -> None:
    assert shell(command, ">/dev/full", events) == (1, [FULL])


@pytest.mark.parametrize("command", ["topics", "replay {}"])
def test_a_closed_output_is_one_sentence(events: Path, command: str) -> None:
    assert shell(command, ">&-", events) == (1, [CLOSED])


@pytest.mark.parametrize("command", ["topics", "replay {}"])
def test_without_a_buffer_it_is_the_same(events: Path, command: str) -> None:
    assert shell(command, ">/dev/full", events, PYTHONUNBUFFERED="1") == (1, [FULL])


@pytest.mark.parametrize("command", ["topics", "rules", "replay {}", "replay --summary {}"])
def test_a_reader_that_leaves_ends_it_without_a_word(events: Path, command: str) -> None:
    assert shell(command, "| true; exit ${PIPESTATUS[0]}", events) == (1, [])


def test_what_fits_is_written(events: Path) -> None:
    assert shell("replay {}", "| head -1 | grep -c low_magnesium >/dev/null; exit ${PIPESTATUS[2]}", events) == (0, [])


def test_an_error_output_that_is_full_is_no_traceback(events: Path) -> None:
    assert shell("replay {}x", "2>/dev/full", events)[0] == 1


@pytest.mark.parametrize(("redirection", "status"), [("2>&-", 2), ("<&- >/dev/null", 2)])
def test_other_closed_streams_do_no_harm(events: Path, redirection: str, status: int) -> None:
    """Without standard error a complaint goes nowhere, not to standard output."""
    done, said = shell("replay {}x", redirection, events)
    assert done == status
    assert "Traceback" not in "".join(said)


def test_a_closed_input_is_one_sentence(events: Path) -> None:
    assert shell("replay -", "<&-", events) == (1, ["<stdin>: cannot be read on: Bad file descriptor"])


def test_wrong_rule_settings_end_every_command_that_uses_them(events: Path, tmp_path: Path) -> None:
    for command in ("rules", "rules show low_magnesium", "replay {}", f"rules check {tmp_path}", "worker", "demo"):
        status, said = shell(command, "", events, DIALYSIS_RULES=str(tmp_path))
        assert status == 2, command
        (line,) = said
        assert line.endswith(f"{tmp_path}: cannot be read: Is a directory: name a TOML file")
