"""Child processes that end with their parent; on Linux also if SIGKILL ends it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")

_Job = tuple[Future[subprocess.Popen[bytes]], Callable[[], subprocess.Popen[bytes]]]
_jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
_launcher: threading.Thread | None = None
_launcher_lock = threading.Lock()


class Child:
    """A program that this process started. Signals go to it alone, and never to a pid that was reused."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; `None` while it lives, suspended or not."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end.

        Args:
            timeout: Seconds to wait; `None` for ever.

        Returns:
            Whether it has ended.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.status is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        self._process.send_signal(number)

    def suspend(self) -> None:
        """Freeze it, and return once all of its threads stand still: on a busy machine SIGSTOP takes time."""
        self.send(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def end(self, number: signal.Signals, patience: float) -> None:
        """End it, with SIGKILL if the signal does not do it in time.

        Args:
            number: SIGTERM for an orderly end, SIGKILL for an immediate one.
            patience: Seconds to wait for the signal to work.
        """
        self.send(number)
        # A suspended process would not see SIGTERM.
        self.send(signal.SIGCONT)
        if not self.wait(patience):
            self._process.kill()
            self.wait()


def spawn(
    command: Sequence[str],
    folder: Path,
    output: Path,
    cpus: set[int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start a program.

    It has its own process group, so that Ctrl-C in a terminal reaches only the parent, which then stops the program
    when it is ready to.

    Args:
        command: The program's path and its arguments.
        folder: Its working directory.
        output: The file for its standard output and error.
        cpus: The processors it may use (Linux); all when `None`.
        environment: Its environment variables; ours when `None`.

    Returns:
        The running program.
    """
    pinned = ",".join(map(str, sorted(cpus or ())))
    argv = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), pinned, *command]

    def start() -> subprocess.Popen[bytes]:
        with output.open("ab") as file:
            return subprocess.Popen(  # noqa: S603
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )

    future: Future[subprocess.Popen[bytes]] = Future()
    _ensure_launcher()
    _jobs.put((future, start))
    return Child(future.result())


def _ensure_launcher() -> None:
    """Keep one thread that starts all children.

    Linux sends the parent-death signal when the starting *thread* ends, so a broker started from a worker
    thread (`asyncio.to_thread`) would die with it. This thread lives as long as the process.
    """
    global _launcher  # noqa: PLW0603
    with _launcher_lock:
        if _launcher is None or not _launcher.is_alive():
            _launcher = threading.Thread(target=_launch_for_ever, name="broker-launcher", daemon=True)
            _launcher.start()


def _launch_for_ever() -> None:
    while True:
        future, start = _jobs.get()
        try:
            future.set_result(start())
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller that waits
            future.set_exception(error)
