"""The jars of Kafka: the pinned list, and the type of a function that finds one."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_LIST = Path(__file__).with_name("jars.txt")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Jar:
    """One artifact of the pinned list."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """The name in the cache; the group separates artifacts of the same name."""
        return f"{self.group}.{self.artifact}-{self.version}.jar"

    def matches(self, path: Path) -> bool:
        """Whether a file is this artifact, byte for byte."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


Resolve = Callable[[Jar, Path, bool, Advance], Path]
"""Finds a jar and returns where it is.

The folder is for downloads and starts empty; the flag says not to take a copy that is already on the machine;
the function is told of bytes as they come and raises to stop. What goes wrong is an `UnavailableError`.
"""


class UnavailableError(Exception):
    """A jar could not be obtained this time; the message is half a sentence with the reason."""


def pinned() -> list[Jar]:
    """Read the pinned list.

    Returns:
        All jars of the class path, in order.
    """
    jars = []
    for line in _LIST.read_text().splitlines():
        if not line.startswith("#"):
            coordinate, sha256, size = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, sha256, int(size)))
    return jars
