"""Kafka's jars: downloaded once, checked against pinned SHA-256 sums at every start."""

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from streams.broker.errors import INSTALL, BrokerError
from streams.broker.jars import Advance, Jar, Resolve, UnavailableError, pinned
from streams.broker.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_ONCE = 8
_ATTEMPTS = 3


class _StoppedError(Exception):
    """Another download failed or the user interrupted it."""


def cache_folder() -> Path:
    """Name the folder for downloads.

    Returns:
        `DIALYSIS_CACHE` if it is set, else a folder of our own in the user's cache.
    """
    if own := os.environ.get("DIALYSIS_CACHE"):
        return Path(own).absolute()
    # The XDG rule: ignore a relative path there.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "dialysis-alerts"


def fetch(jars: Sequence[Jar] | None = None, cache: Path | None = None, resolve: Resolve | None = None) -> list[Path]:
    """Make sure that all jars are in the cache, complete.

    A file gets its name in the cache only when its sum is right. Until then it is in a folder that is removed at the
    end, or by the next download if this one is killed.

    Args:
        jars: The required jars; the pinned list when `None`.
        cache: The cache; `cache_folder()` when `None`.
        resolve: The source of jars; Maven Central through jgo when `None`.

    Returns:
        Their paths, in the order of `jars`.

    Raises:
        BrokerError: If a jar cannot be obtained, or the cache cannot be written.
    """
    from filelock import FileLock  # noqa: PLC0415 - an optional dependency

    jars = pinned() if jars is None else jars
    folder = (cache or cache_folder()) / "jars"
    try:
        if _missing(jars, folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                # Another process may have fetched them while this one waited.
                _fetch_missing(_missing(jars, folder), folder, resolve or _maven_central())
    except OSError as error:
        raise BrokerError(f"The cache folder {folder} cannot be used ({error.strerror or error}).") from None
    return [folder / jar.filename for jar in jars]


def _maven_central() -> Resolve:
    try:
        from streams.broker.maven import resolve_with_jgo  # noqa: PLC0415 - slow, optional and rarely needed
    except ModuleNotFoundError as error:
        raise BrokerError(f"The embedded Kafka is not installed ({error}): {INSTALL}.") from None
    return resolve_with_jgo


def _missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        present = pool.map(lambda jar: jar.matches(folder / jar.filename), jars)
        return [jar for jar, there in zip(jars, present, strict=True) if not there]


def _fetch_missing(jars: Sequence[Jar], folder: Path, resolve: Resolve) -> None:
    stopped = threading.Event()
    with (
        _staging(folder) as staging,
        progress_bar(len(jars), sum(jar.size for jar in jars)) as advance,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):

        def told(count: int) -> None:
            if stopped.is_set():
                raise _StoppedError
            advance(count)

        try:
            for _ in pool.map(lambda jar: _fetch_one(jar, folder, staging, resolve, told), jars):
                pass
        except BaseException:
            # Without this, Ctrl-C would wait for the downloads that still run.
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _staging(folder: Path) -> "Iterator[Path]":
    """Provide a folder for unfinished files; the caller holds the lock, so any older folder has no owner."""
    for old in folder.glob("unfinished-*"):
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder, ignore_cleanup_errors=True) as staging:
        yield Path(staging)


def _fetch_one(jar: Jar, folder: Path, staging: Path, resolve: Resolve, told: Advance) -> None:
    """Download one jar into the cache."""
    got = 0

    def count(size: int) -> None:
        nonlocal got
        got += size
        told(size)

    def attempt(fresh: bool) -> None:
        nonlocal got
        # Subtract the count of an earlier attempt, so that the bar never passes its end.
        told(-got)
        got = 0
        # A folder for each attempt: jgo mistakes the remains of a broken download for the file.
        path = resolve(jar, Path(tempfile.mkdtemp(dir=staging)), fresh, count)
        if not jar.matches(path):
            raise UnavailableError("its SHA-256 is wrong, so the file is not what was published")
        if not path.is_relative_to(staging):
            # A copy that others own, such as one in Maven's own repository, stays in its place.
            path = Path(shutil.copy(path, tempfile.mkdtemp(dir=staging)))
        path.replace(folder / jar.filename)
        told(jar.size - got)

    retrying = Retrying(
        retry=retry_if_exception_type(UnavailableError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.5),
        reraise=True,
    )
    try:
        for number, retry in enumerate(retrying):
            with retry:
                attempt(fresh=number > 0)
    except UnavailableError as error:
        raise BrokerError(f"Kafka could not be downloaded ({jar.artifact} {jar.version}): {error}.") from None
