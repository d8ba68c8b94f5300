"""The data folder: whether it can be used, who uses it, and its contents."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from streams.broker.errors import BrokerError
from streams.broker.server_settings import CLUSTER_ID, NODE_ID, log4j_properties, server_properties

if TYPE_CHECKING:
    from filelock import FileLock

LOG_DIR = "log"
FORMATTING_DIR = "log.formatting"
SERVER_PROPERTIES = "server.properties"
FORMAT_PROPERTIES = "format.properties"
LOG4J_PROPERTIES = "log4j2.properties"
LOG_FILE = "kafka.log"
OUTPUT_FILE = "output.log"
PREVIOUS_LOG_FILE = "kafka.previous.log"
_LOCK_FILE = ".lock"
_PREFIX = "dialysis-kafka-"
# A temporary folder is made a moment before it is locked; a folder of this age is past that moment.
_ORPHAN_S = 60.0
_META_KEYS = {"version", "cluster.id", "node.id", "directory.id"}


class DataFolder:
    """A folder that belongs to one embedded broker while it is open."""

    def __init__(self, path: Path | None) -> None:
        """Make sure that the folder can be used, and take it.

        Args:
            path: The folder, made if it is missing; `None` for a temporary one that `close` removes.

        Raises:
            BrokerError: If it cannot be written, is in use, or holds something else or broken data.
        """
        self._temporary = None
        if path is None:
            _remove_orphans()
            self._temporary = tempfile.TemporaryDirectory(prefix=_PREFIX)
            path = Path(self._temporary.name)
        self.path = path.absolute()
        self._lock = _lock_of(self.path)
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    @property
    def temporary(self) -> bool:
        """Whether `close` removes the data."""
        return self._temporary is not None

    @property
    def formatted(self) -> bool:
        """Whether Kafka's storage has been prepared."""
        return (self.path / LOG_DIR).exists()

    def write_settings(self, port: int, controller: int) -> None:
        """Write the settings for the next start; ports may differ from the last one.

        Args:
            port: The port for clients.
            controller: The port of the controller.
        """
        for name, log_dir in ((SERVER_PROPERTIES, LOG_DIR), (FORMAT_PROPERTIES, FORMATTING_DIR)):
            (self.path / name).write_text(server_properties(port, controller, log_dir))
        (self.path / LOG4J_PROPERTIES).write_text(log4j_properties(LOG_FILE))
        # The log of a start is read for its success or failure, so it must not hold that of another start.
        with contextlib.suppress(FileNotFoundError):
            (self.path / LOG_FILE).replace(self.path / PREVIOUS_LOG_FILE)
        (self.path / OUTPUT_FILE).write_bytes(b"")

    def clear_formatting(self) -> None:
        """Remove the remains of an interrupted format."""
        shutil.rmtree(self.path / FORMATTING_DIR, ignore_errors=True)

    def finish_formatting(self) -> None:
        """Move the formatted storage to its place, whole or not at all."""
        (self.path / FORMATTING_DIR).rename(self.path / LOG_DIR)

    def close(self) -> None:
        """Release the folder and remove it if it is temporary."""
        self._lock.release()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.cleanup()

    def _take(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise BrokerError(f"The data folder {self.path} is a file: choose a folder.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = not self.formatted and self._strangers()
            if foreign:
                raise BrokerError(
                    f"The data folder {self.path} holds something else ({foreign[0]}): choose an empty one."
                )
            self._lock.acquire(blocking=False)
            if self.formatted:
                self._check_meta()
        except TimeoutError:
            raise BrokerError(f"The data folder {self.path} is in use by another broker.") from None
        except OSError as error:
            raise BrokerError(f"The data folder {self.path} cannot be used ({error.strerror}).") from None

    def _strangers(self) -> list[str]:
        """List the entries that do not come from an earlier, interrupted start."""
        ours = {
            _LOCK_FILE,
            FORMATTING_DIR,
            SERVER_PROPERTIES,
            FORMAT_PROPERTIES,
            LOG4J_PROPERTIES,
            LOG_FILE,
            OUTPUT_FILE,
            PREVIOUS_LOG_FILE,
        }
        return sorted(entry.name for entry in self.path.iterdir() if entry.name not in ours)

    def _check_meta(self) -> None:
        """Check that this program formatted the storage and that it can be read."""
        meta_file = self.path / LOG_DIR / "meta.properties"
        try:
            text = meta_file.read_text("latin-1")
        except FileNotFoundError:
            text = ""
        lines = (line.strip() for line in text.splitlines())
        meta = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        if not meta.keys() >= _META_KEYS or meta["version"] != "1":
            raise BrokerError(
                f"The data folder {self.path} is broken ({meta_file.name} cannot be read): delete it or choose another."
            )
        if meta["node.id"] != str(NODE_ID) or meta["cluster.id"] != CLUSTER_ID:
            raise BrokerError(f"The data folder {self.path} belongs to another Kafka: choose another one.")


def _lock_of(folder: Path) -> "FileLock":
    from filelock import FileLock  # noqa: PLC0415 - an optional dependency

    return FileLock(folder / _LOCK_FILE, thread_local=False)


def _remove_orphans() -> None:
    """Remove temporary folders whose process was killed before it removed them: nobody holds their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ORPHAN_S:
                with _lock_of(folder).acquire(blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
