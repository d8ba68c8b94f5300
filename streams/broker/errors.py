"""The one error of this package, and the sentence a dead broker leaves behind."""

import re
from pathlib import Path

INSTALL = "install dialysis-alerts with its extra [broker]"
_TELLING = re.compile(r"ERROR|FATAL|Exception|Error:|error", re.ASCII)
_TAIL_BYTES = 256 * 1024
_SENTENCES = (
    (
        re.compile(r"Address already in use|SocketServer failed to bind"),
        "its port is in use by another program",
    ),
    (re.compile(r"Failed to acquire lock on file"), "another broker is using its data folder"),
    (re.compile(r"No space left on device"), "the disk of its data folder is full"),
    (
        re.compile(r"Could not reserve enough space|insufficient memory|OutOfMemoryError"),
        "there is not enough memory",
    ),
)


class BrokerError(Exception):
    """The embedded Kafka cannot do what was asked; the message is one sentence for the person who asked."""


class PortInUseError(BrokerError):
    """Somebody else listens on the port."""


def why_it_died(*logs: Path) -> str:
    """Explain from its log files why a broker ended.

    Args:
        logs: The files to read, the most telling first; those that do not exist count as empty.

    Returns:
        A known cause as half a sentence, else the first line of the last complaint in the logs.
    """
    texts = [_tail(log) for log in logs]
    for pattern, sentence in _SENTENCES:
        if any(pattern.search(text) for text in texts):
            return sentence
    for text in texts:
        lines = [line.strip() for line in text.splitlines() if _TELLING.search(line)]
        # Stack frames and what wraps the exception say less than the exception itself.
        lines = [line for line in lines if not line.startswith(("at ", "..."))]
        if lines:
            return lines[-1][:400]
    return "it left no message"


def _tail(log: Path) -> str:
    """Read the end of a log; a broker that died does so in its last lines."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
