"""kcat, the plain client that readers of our topics are promised to get by with: found, or installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")


class KcatMissingError(Exception):
    """There is no kcat and it may not be installed; the message says what to do."""


@functools.cache
def kcat() -> str:
    """The path of kcat, installing it where it is missing and this process may.

    Raises:
        KcatMissingError: It is missing, and only somebody else can install it.
    """
    found = _find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = _find()
    if found is None:
        raise KcatMissingError("These tests read Kafka as others do, with kcat: install it (apt-get install kcat).")
    return found


def _find() -> str | None:
    return shutil.which("kcat") or shutil.which("kafkacat")


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A machine that is fresh has no package lists; one that is not need not fetch them again.
    for command in (["install", "-y", "kcat"], ["update"], ["install", "-y", "kcat"]):
        done = subprocess.run([*_APT, *command], env=environment, capture_output=True, timeout=300, check=False)
        if command[0] == "install" and done.returncode == 0:
            return


def run_kcat(bootstrap: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """What kcat prints; it must succeed."""
    command = [kcat(), "-b", bootstrap, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def read_topic(bootstrap: str, topic: str, template: str) -> list[str]:
    """All messages of a topic in the words of kcat's `-f`, one string each."""
    separator = "\x1e"
    printed = run_kcat(bootstrap, "-C", "-q", "-e", "-t", topic, "-o", "beginning", "-f", template + separator)
    return printed.decode().split(separator)[:-1]


def produce(bootstrap: str, topic: str, key: str, value: bytes, folder: Path, options: Sequence[str] = ()) -> None:
    """Produce one message, whatever bytes it has."""
    file = folder / "message"
    file.write_bytes(value)
    run_kcat(bootstrap, "-P", "-t", topic, "-k", key, *options, str(file))
