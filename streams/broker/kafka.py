"""A real Apache Kafka as a child process."""

import atexit
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from streams.broker import jvm as runtime
from streams.broker.child_process import Child, spawn
from streams.broker.download import fetch
from streams.broker.errors import BrokerError, why_it_died
from streams.broker.server_settings import CLUSTER_ID
from streams.broker.storage import (
    FORMAT_PROPERTIES,
    LOG4J_PROPERTIES,
    LOG_FILE,
    OUTPUT_FILE,
    SERVER_PROPERTIES,
    DataFolder,
)
from streams.broker.tcp_ports import HOST, ReservedPort, answers

_FORMAT_S = 60.0
_START_S = 90.0
_STOP_S = 20.0
_KILL_S = 10.0
_POLL_S = 0.05
_STARTED = b"Kafka Server started"


class EmbeddedKafka:
    """One Kafka node on the loopback interface.

    From the first start until `close` it keeps its data folder and its port, whether it runs or not, so a client sees
    the same address after `stop` or `kill` and `start`. All methods block; call them from asyncio with
    `asyncio.to_thread`. Use it as a context manager, or call `close`; it also ends with this process, however that
    ends.
    """

    def __init__(
        self,
        data: Path | None = None,
        port: int = 0,
        *,
        cpus: set[int] | None = None,
        jvm: Sequence[str] = (),
    ) -> None:
        """Describe the broker; nothing happens before `start`.

        Args:
            data: The folder for its data; `None` for a temporary one that `close` removes.
            port: The port for clients; 0 lets the kernel pick one.
            cpus: The processors it may use (Linux); all when `None`.
            jvm: More options for the JVM, after ours: the last of two conflicting ones counts. For long measurements
                `-XX:TieredStopAtLevel=4` restores the compiler that costs time at the start.
        """
        self._jvm = tuple(jvm)
        self._data = data
        self._wanted_port = port
        self._cpus = cpus
        self._lock = threading.RLock()
        self._folder: DataFolder | None = None
        self._port: ReservedPort | None = None
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """The port for clients."""
        if self._port is None:
            raise BrokerError("The broker has no address yet: start it first.")
        return self._port.number

    @property
    def bootstrap(self) -> str:
        """The address for clients, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """The data folder."""
        if self._folder is None:
            raise BrokerError("The broker has no data folder yet: start it first.")
        return self._folder.path

    @property
    def pid(self) -> int | None:
        """The JVM's process id; `None` while it does not run."""
        child = self._child
        return child.pid if child is not None and child.status is None else None

    @property
    def running(self) -> bool:
        """Whether the JVM lives; a suspended one does."""
        return self.pid is not None

    def start(self) -> Self:
        """Start it and wait until it answers.

        Returns:
            Itself.

        Raises:
            BrokerError: If it cannot start; the message gives the reason in one sentence.
        """
        with self._lock:
            if self.running:
                return self
            first = self._folder is None
            try:
                self._start_or_explain()
            except BaseException:
                self._end(signal.SIGKILL, _KILL_S)
                if first:
                    self.close()
                raise
        return self

    def stop(self) -> None:
        """Stop it in order; if it takes too long, kill it. Address and data stay."""
        self._end(signal.SIGTERM, _STOP_S)

    def kill(self) -> None:
        """Kill it as a crash would. Address and data stay."""
        self._end(signal.SIGKILL, _KILL_S)

    def restart(self) -> None:
        """Stop it in order and start it on the same address and data."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        if self._child is not None:
            self._child.suspend()

    def resume(self) -> None:
        """Let a suspended broker continue."""
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it ends by itself.

        Args:
            timeout: Seconds to wait; `None` for ever.

        Returns:
            Whether it has ended.
        """
        return self._child is None or self._child.wait(timeout)

    def why_it_ended(self) -> str:
        """Find the reason of an unrequested end in the exit status or the logs.

        Returns:
            Half a sentence.
        """
        status = self._child.status if self._child is not None else None
        if status is not None and status < 0:
            return f"signal {-status} ended it"
        return why_it_died(self.data / LOG_FILE, self.data / OUTPUT_FILE)

    def close(self) -> None:
        """End it, release address and data folder, and remove a temporary folder."""
        with self._lock:
            # Temporary data needs no orderly end.
            if self._folder is not None and self._folder.temporary:
                self.kill()
            else:
                self.stop()
            if self._port is not None:
                self._port.release()
            if self._folder is not None:
                self._folder.close()
            self._port = self._folder = self._child = None
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_or_explain(self) -> None:
        try:
            self._start()
        except OSError as error:
            # For example a full disk, or a folder in the data folder that belongs to another user.
            raise BrokerError(f"Kafka could not be started: {error}.") from None

    def _start(self) -> None:
        # Java first: its sentence about a missing installation covers all optional dependencies.
        java = runtime.java()
        command = runtime.command(java, fetch(), LOG4J_PROPERTIES, self._jvm)
        if self._port is None:
            self._port = ReservedPort(self._wanted_port)
        if self._folder is None:
            self._folder = DataFolder(self._data)
            atexit.register(self.close)
        # Only the broker itself connects to the controller, so its port may change at each start.
        controller = ReservedPort()
        try:
            self._folder.write_settings(self._port.number, controller.number)
            if not self._folder.formatted:
                self._format(self._folder, command)
            self._child = self._spawn([*command, "kafka.Kafka", SERVER_PROPERTIES])
            self._wait_until_it_answers()
        finally:
            controller.release()

    def _format(self, folder: DataFolder, command: list[str]) -> None:
        folder.clear_formatting()
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", FORMAT_PROPERTIES]
        self._child = self._spawn([*command, *tool])
        if not self.wait(_FORMAT_S):
            raise BrokerError(f"Kafka did not prepare its data folder within {_FORMAT_S:.0f} s.")
        if self._child.status != 0:
            raise BrokerError(f"Kafka could not prepare its data folder: {self.why_it_ended()}.")
        folder.finish_formatting()

    def _spawn(self, command: list[str]) -> Child:
        return spawn(command, self.data, self.data / OUTPUT_FILE, self._cpus)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        # The log line proves that this broker answers, not another one on the same port.
        while not (self._says_started() and answers(self.port)):
            if not self.running:
                raise BrokerError(f"Kafka ended while it started: {self.why_it_ended()}.")
            if time.monotonic() > deadline:
                raise BrokerError(f"Kafka did not answer within {_START_S:.0f} s: {self.why_it_ended()}.")
            time.sleep(_POLL_S)

    def _says_started(self) -> bool:
        try:
            return _STARTED in (self.data / LOG_FILE).read_bytes()
        except FileNotFoundError:
            return False

    def _end(self, number: signal.Signals, patience: float) -> None:
        if self._child is not None:
            self._child.end(number, patience)
