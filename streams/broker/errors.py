"""The error of this package, and the reason why a broker ended, in words."""

import re
from pathlib import Path

INSTALL = "install dialysis-alerts with its extra [broker]"
_TAIL_BYTES = 256 * 1024
_SENTENCES = (
    (re.compile(r"Address already in use"), "its port is in use by another program"),
    (re.compile(r"Failed to acquire lock on file"), "another broker is using its data folder"),
    (re.compile(r"No space left on device"), "the disk of its data folder is full"),
    (
        re.compile(r"Could not reserve enough space|insufficient memory|OutOfMemoryError"),
        "there is not enough memory",
    ),
)
# A log4j line of an error; the lines up to the next date are its exception.
_COMPLAINT = re.compile(r"^[\d-]+ [\d:,]+ (?:ERROR|FATAL) [\w.$]+: (.*(?:\n(?!\d{4}-).*)*)", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+([\w$]*(?:Exception|Error)\b.*)", re.MULTILINE)


class BrokerError(Exception):
    """The embedded Kafka cannot do what is needed; the message is one sentence for the person who ran it."""


def why_it_died(log: Path, output: Path) -> str:
    """Explain from its files why a broker ended.

    Args:
        log: Kafka's log since the start; a missing file counts as empty.
        output: What the JVM itself printed.

    Returns:
        A known cause as half a sentence, else the log's last error, else the output's last exception or first line.
    """
    logged, printed = _tail(log), _tail(output)
    for pattern, sentence in _SENTENCES:
        if pattern.search(logged) or pattern.search(printed):
            return sentence
    complaints = _COMPLAINT.findall(logged)
    # A wrapping exception is less informative than its innermost cause, which is printed last.
    causes = _EXCEPTION.findall(complaints[-1]) if complaints else _EXCEPTION.findall(printed)
    lines = [*causes[-1:], *(text.splitlines()[0] for text in complaints[-1:]), *printed.splitlines()]
    said = next((line.strip() for line in lines if line.strip()), "it left no message")
    return said[:300].rstrip(".")


def _tail(file: Path) -> str:
    """Read the end of a file: its last lines hold the cause of a broker's end."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - _TAIL_BYTES))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""
