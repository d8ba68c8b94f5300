import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from models.settings import Settings
from streams import cli
from streams.simulator.planned import Scenario

CONTRACT_COMMANDS = ["demo", "broker", "worker", "simulate", "replay", "rules", "topics", "dead-letters", "board"]
SUBCOMMANDS = [
    ["board", "token"],
    ["board", "user", "add"],
    ["rules", "list"],
    ["rules", "show"],
    ["rules", "check"],
    ["dead-letters", "redrive"],
]
HEAVY = {"faust", "mode", "aiokafka", "aiohttp", "prometheus_client"}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DIALYSIS_{name.upper()}", raising=False)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words), prog_name=cli.NAME)


Calls = list[tuple[Any, ...]]


def recorder(name: str, calls: Calls, status: int) -> Callable[..., int]:
    def record(*words: Any, **options: Any) -> int:
        calls.append((name, words, options))
        return status

    return record


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Puts a body in place of a command's; returns the list of what it is called with."""

    def replace(module: str, *names: str, status: int = 0) -> Calls:
        calls: Calls = []
        fake = ModuleType(module)
        for name in names:
            setattr(fake, name, recorder(name, calls, status))
        monkeypatch.setitem(sys.modules, module, fake)
        parent, _, child = module.rpartition(".")
        monkeypatch.setattr(import_module(parent), child, fake, raising=False)
        return calls

    return replace


@pytest.mark.parametrize("words", [[], *([name] for name in CONTRACT_COMMANDS), *SUBCOMMANDS])
def test_every_command_has_help(words: list[str]) -> None:
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_lists_the_commands_of_the_contract() -> None:
    output = invoke("--help").output
    for name in CONTRACT_COMMANDS:
        assert f" {name} " in output


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.strip()[0].isdigit()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no-such-command"],
        ["topics", "--no-such-option"],
        ["replay"],
        ["replay", "-", "--until", "tomorrow"],
        ["replay", "-", "--until", "2026-01-01T00:00:00"],
        ["demo", "--seconds", "soon"],
        ["broker", "--port", "70000"],
        ["simulate", "--scenario", "no-such-scenario"],
        ["rules", "show"],
        ["dead-letters", "--reason", "empty", "redrive"],
    ],
)
def test_wrong_use_is_status_2(words: list[str]) -> None:
    assert invoke(*words).exit_code == 2


def test_wrong_settings_are_named_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "PARTITIONS": ("0", "1 or more"),
        "BATCH_MAX": ("many", "a whole number"),
        "CHECKPOINT_INTERVAL": ("0", "more than 0"),
        "REPLICATION": ("9", "5 or less"),
        "HTTP": ("6066", "host:port with a port from 0 to 65535"),
        "LOG_LEVEL": ("loud", "'debug', 'info', 'warning' or 'error'"),
        "TOPIC_PREFIX": ("a b", "A-Za-z0-9"),
    }
    for name, (value, _) in wrong.items():
        monkeypatch.setenv(f"DIALYSIS_{name}", value)
    result = invoke("topics")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == len(wrong)
    for name, (value, wants) in wrong.items():
        line = next(line for line in lines if line.startswith(f"DIALYSIS_{name} is {value!r}, wants "))
        assert wants in line


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_status_is_that_of_the_command(body: Callable[..., Calls], status: int) -> None:
    calls = body("streams.worker.process", "run", status=status)
    assert invoke("worker").exit_code == status
    assert calls == [("run", (Settings(),), {})]


def test_demo_and_broker(body: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch) -> None:
    demo, broker = body("streams.demo", "run"), body("streams.broker.command", "run")
    monkeypatch.setenv("DIALYSIS_DATA", "/var/lib/kafka")
    assert invoke("demo").exit_code == invoke("demo", "--seconds", "90").exit_code == 0
    assert invoke("demo", "--no-board").exit_code == 0
    assert [words[1] for _, words, _ in demo] == [None, 90.0, None]
    assert [options["board"] for _, _, options in demo] == [True, True, False]
    assert invoke("broker").exit_code == invoke("broker", "--port", "0", "--data", "/tmp/x").exit_code == 0
    assert [words for _, words, _ in broker] == [(9092, Path("/var/lib/kafka")), (0, Path("/tmp/x"))]


def test_board(body: Callable[..., Calls]) -> None:
    calls = body("streams.board.command", "run", "user_add", "token")
    assert invoke("board").exit_code == invoke("board", "--user", "anna").exit_code == 0
    assert invoke("board", "user", "add", "anna", "--role", "viewer").exit_code == 0
    assert invoke("board", "token", "wall-1").exit_code == 0
    assert [(name, words[1:]) for name, words, _ in calls] == [
        ("run", (None,)),
        ("run", ("anna",)),
        ("user_add", ("anna", "viewer")),
        ("token", ("wall-1",)),
    ]


def test_simulate(body: Callable[..., Calls]) -> None:
    calls = body("streams.simulator.command", "run")
    assert invoke("simulate").exit_code == 0
    words = "--patients 7 --rate 5 --seed 3 --speed 60 --scenario dense --start 2026-01-05T06:00:00Z --out -"
    assert invoke("simulate", *words.split()).exit_code == 0
    assert calls[0][1] == (Settings(), 48, None, 1, 1.0, Scenario.NORMAL)
    assert calls[1][1] == (Settings(), 7, 5.0, 3, 60.0, Scenario.DENSE)
    assert calls[1][2]["start"] == datetime(2026, 1, 5, 6, tzinfo=UTC)
    assert calls[1][2]["out"] == Path("-")


def test_the_scenarios_are_those_of_the_simulator() -> None:
    assert set(get_args(cli.Scenario)) == set(Scenario)


def test_replay(body: Callable[..., Calls], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = body("streams.commands.replay", "run")
    monkeypatch.setenv("DIALYSIS_RULES", "site.toml")
    assert invoke("replay", "-").exit_code == 0
    words = "replay a.jsonl --until 2026-01-01T00:00:00+01:00 --summary --compare b.toml --strict --rules c.toml"
    assert invoke(*words.split()).exit_code == 0
    assert calls[0][1] == ("-", None, False, None, False, Path("site.toml"))
    until = datetime.fromisoformat("2026-01-01T00:00:00+01:00")
    assert calls[1][1] == ("a.jsonl", until, True, Path("b.toml"), True, Path("c.toml"))


def test_rules(body: Callable[..., Calls]) -> None:
    calls = body("streams.commands.rules", "list_rules", "show_rule", "check_rules")
    for words in ("rules", "rules list", "rules show low_magnesium", "rules check site.toml"):
        assert invoke(*words.split()).exit_code == 0
    assert [(name, words) for name, words, _ in calls] == [
        ("list_rules", (None,)),
        ("list_rules", (None,)),
        ("show_rule", ("low_magnesium", None)),
        ("check_rules", (Path("site.toml"),)),
    ]


def test_topics(body: Callable[..., Calls]) -> None:
    calls = body("streams.commands.topics", "show", "create")
    assert invoke("topics").exit_code == invoke("topics", "--create").exit_code == 0
    assert [name for name, _, _ in calls] == ["show", "create"]


def test_dead_letters(body: Callable[..., Calls]) -> None:
    listed, redriven = (
        body("streams.commands.dead_letters", "list_dead_letters"),
        body("streams.commands.redrive", "redrive"),
    )
    assert invoke("dead-letters", "--reason", "empty").exit_code == 0
    assert listed[0][1][1:] == ("empty", None)
    assert invoke("dead-letters", "redrive", "--topic", "lab-results", "--dry-run").exit_code == 0
    assert invoke("dead-letters", "redrive", "--topic", "dialysis.lab-results").exit_code == 0
    assert [words[1:] for _, words, _ in redriven] == [
        (None, "dialysis.lab-results", True),
        (None, "dialysis.lab-results", False),
    ]


def modules_after(code: str, stdin: bytes = b"") -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint('MODULES', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], input=stdin, capture_output=True, check=True, timeout=60)
    return set(done.stdout.decode().splitlines()[-1].split())


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = modules_after("import streams.cli")
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"pydantic"})


def test_replay_never_loads_faust() -> None:
    code = """
import sys
from streams.cli import main
sys.argv = ["dialysis-alerts", "replay", "-"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    line = b'{"type":"lab_result","patient_id":"p","at":"2026-01-01T00:00:00Z","result_id":"r","analyte":"magnesium"}\n'
    loaded = modules_after(code, line)
    assert "msgspec" in loaded
    assert not loaded & HEAVY
