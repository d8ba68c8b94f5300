"""`python -m streams.broker`, really run: how it starts, what it says and how it ends."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.broker import command
from tests.integration.broker_checks import create, eventually, read, send


class Command:
    """`python -m streams.broker` as a user runs it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams.broker", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Kafka is ready: bootstrap.servers=127.0.0.1:")
        return line.rsplit("=", 1)[1].strip()

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        if number is not None:
            self.process.send_signal(number)
        _, complaint = self.process.communicate(timeout=60)
        return self.process.returncode, complaint


@contextlib.contextmanager
def broker_command(*arguments: str) -> Iterator[Command]:
    running = Command(*arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


async def test_command_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with broker_command("--port", "0", "--data", data) as first:
        address = await asyncio.to_thread(first.ready)
        await create(address, "broker-command")
        await send(address, "broker-command", b"kept")
        port = address.rsplit(":", 1)[1]
        with broker_command("--port", port) as second:
            status, complaint = second.end()
            assert (status, complaint.count("\n")) == (1, 1)
            assert f"Port {port} cannot be used" in complaint
        with broker_command("--port", "0", "--data", data) as second:
            status, complaint = second.end()
            assert (status, complaint.count("\n")) == (1, 1)
            assert "is in use by another broker" in complaint
        assert first.end(signal.SIGTERM) == (0, "")
    with broker_command("--port", port, "--data", data) as again:
        address = await asyncio.to_thread(again.ready)
        assert await read(address, "broker-command", 1) == [b"kept"]
        assert again.end(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_command_interrupted_while_it_starts_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with broker_command("--port", "0", "--data", str(tmp_path)) as starting:
        parent = psutil.Process(starting.process.pid)
        assert eventually(lambda: bool(parent.children()), 30)
        (jvm,) = parent.children()
        status, complaint = starting.end(number)
    assert (status, complaint) == (1, "Interrupted before Kafka was ready.\n")
    assert not jvm.is_running()


def test_command_says_when_the_broker_dies(tmp_path: Path) -> None:
    with broker_command("--port", "0", "--data", str(tmp_path)) as running:
        running.ready()
        (jvm,) = psutil.Process(running.process.pid).children()
        jvm.kill()
        status, complaint = running.end()
    assert status == 1
    assert complaint.startswith("Kafka has ended by itself")


def test_command_refuses_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(70_000, None) == 2
    assert "Port 70000 does not exist" in capsys.readouterr().err
    with broker_command("--port", "x") as wrong:
        assert wrong.end()[0] == 2
