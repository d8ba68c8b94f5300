"""The programs that the demo starts: each has its own log, and each ends with the demo, however that ends."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from models.settings import Settings
from streams.broker.child_process import spawn
from streams.broker.errors import BrokerError
from streams.broker.tcp_ports import ReservedPort

_WORDS: Final = 8
_TAIL_BYTES: Final = 16 * 1024


class DemoError(Exception):
    """The demo cannot continue; the message is a sentence for the person who started it."""


class Program:
    """One of our commands, running as its own process."""

    def __init__(self, name: str, arguments: Sequence[str], settings: Settings, folder: Path) -> None:
        """Start it.

        Args:
            name: Its name for people.
            arguments: The command and its options.
            settings: Passed to it as environment variables.
            folder: The folder of its log.
        """
        self.name = name
        self.log = folder / f"{name}.log"
        # -P: it runs in the log folder, whose files are not modules.
        command = [sys.executable, "-P", "-m", "streams.cli", *arguments]
        self._child = spawn(command, folder, self.log, environment=os.environ | environment(settings))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def complaint(self) -> str | None:
        """Return a sentence with its last log lines if it has ended; None while it runs."""
        if self._child.status is None:
            return None
        status = self._child.status
        how = f"was ended by signal {-status}" if status < 0 else f"ended by itself with exit status {status}"
        words = "\n".join(f"  {line}" for line in last_lines(self.log)) or "  nothing"
        return f"The {self.name} {how}. The last it said ({self.log}):\n{words}"

    def ask_to_end(self) -> None:
        """Ask it to end in good order, without waiting."""
        self._child.send(signal.SIGTERM)

    def end(self, patience: float) -> None:
        """Ask it to end; kill it if it does not within so many seconds."""
        self._child.end(signal.SIGTERM, patience)


def environment(settings: Settings) -> dict[str, str]:
    """Turn settings into environment variables, from which a program reads the same settings."""
    prefix = str(Settings.model_config["env_prefix"])
    values = settings.model_dump(exclude_none=True)
    return {prefix + name.upper(): str(value) for name, value in values.items()}


def last_lines(log: Path, number: int = _WORDS) -> list[str]:
    """Return the end of a log, without characters that a terminal would act on."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return ["".join(c if c.isprintable() else "?" for c in line) for line in lines[-number:]]


def reserve(wanted: int) -> ReservedPort:
    """Reserve the wanted port, or another one if it is taken. Until its release no other program gets it (Linux)."""
    try:
        return ReservedPort(wanted)
    except BrokerError:
        return ReservedPort()
