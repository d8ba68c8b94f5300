"""The demo as a user runs it, without a terminal: it keeps its promise, and leaves nothing behind."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

#: The issue promises all of it within 60 s of the first view.
PROMISE_S = 60
DAY_S = 24 * 3600
_RAISED = ("low_magnesium", "aluminum_suspicion", "intradialytic_cramp")


class Demo:
    """`dialysis-alerts demo` in a folder of its own, with what it says and the processes it starts."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False, **environment: str) -> None:
        self.out = folder / "out"
        # Ports of its own: 9092, 6066 and 6080 may be somebody else's, and must not be needed.
        ports = {"DIALYSIS_HTTP": "127.0.0.1:0", "DIALYSIS_BOARD_HTTP": "127.0.0.1:0"}
        env = os.environ | {"TMPDIR": str(folder)} | ports | environment
        out = self._terminal() if terminal else os.open(self.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env | {"TERM": "xterm-256color"},
        )
        os.close(out)
        self.children: set[int] = set()

    def _terminal(self) -> int:
        """A terminal of 80 by 24, of which all is kept that is written to it."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.out.write_bytes(b"")

        def keep() -> None:
            with contextlib.suppress(OSError), self.out.open("ab", buffering=0) as out:
                while part := os.read(ours, 65_536):
                    out.write(part)
            os.close(ours)

        threading.Thread(target=keep, daemon=True).start()
        return theirs

    def said(self) -> str:
        return self.out.read_text(errors="replace")

    def watch(self, until: Callable[[], bool], seconds: float) -> None:
        """Remember every child until something is so."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.said()
            if self.process.poll() is None:
                self.children |= {child.pid for child in psutil.Process(self.process.pid).children()}
            time.sleep(0.2)

    def named(self, part: str) -> psutil.Process:
        """The child whose command has this part."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if part in " ".join(child.cmdline()))

    def is_live(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "the unit is live" in self.said()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def left(self) -> list[int]:
        """Children that still live."""
        return [pid for pid in self.children if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    running: list[Demo] = []

    def start(*arguments: str, terminal: bool = False, **environment: str) -> Demo:
        running.append(Demo(tmp_path, *arguments, terminal=terminal, **environment))
        return running[-1]

    yield start
    for demo in running:
        demo.process.kill()
        demo.process.wait()


def test_it_keeps_its_promise_and_ends_by_itself(demos: Callable[..., Demo], tmp_path: Path) -> None:
    demo = demos("--seconds", "44")
    demo.watch(demo.has_ended, 150)
    said = demo.said()
    assert demo.process.returncode == 0, said
    first_view = clock(said, r"-- past")
    for rule in _RAISED:
        assert (clock(said, rf"raised +\w+ +\S+ +{rule}:") - first_view) % DAY_S < PROMISE_S, said
    resolved = clock(said, rf"resolved +\w+ +\S+ +({'|'.join(_RAISED)}):")
    assert (resolved - first_view) % DAY_S < PROMISE_S, said
    summary = said.partition("rule ")[2]
    for rule in _RAISED:
        assert re.search(rf"^{rule} .*\d raised", summary, re.MULTILINE), said
    assert "dead letters: 0" in summary
    assert "BLIND" not in said
    assert "Traceback" not in said
    assert len(demo.children) >= 3
    assert not demo.left()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_dead_worker_ends_it_with_the_reason(demos: Callable[..., Demo]) -> None:
    demo = demos()
    demo.watch(demo.is_live, 90)
    demo.named("streams.cli worker").kill()
    demo.watch(demo.has_ended, 30)
    assert demo.process.returncode == 1
    assert re.search(r"The worker was ended by signal 9\. The last it said \(\S+worker\.log\):\n  .+", demo.said())
    assert not demo.left()


def test_it_does_not_outlive_a_killed_parent(demos: Callable[..., Demo]) -> None:
    demo = demos()
    demo.watch(lambda: len(demo.children) >= 3, 60)
    demo.process.kill()
    demo.watch(demo.has_ended, 5)
    if sys.platform == "linux":
        demo.watch(lambda: not demo.left(), 10)


@pytest.mark.parametrize("early", [True, False])
def test_a_hang_up_ends_it_and_all_it_started(demos: Callable[..., Demo], tmp_path: Path, early: bool) -> None:
    demo = demos()
    demo.watch((lambda: bool(demo.children)) if early else demo.is_live, 90)
    demo.process.send_signal(signal.SIGHUP)
    demo.watch(demo.has_ended, 30)
    assert demo.process.returncode == (1 if early else 0), demo.said()
    assert ("Interrupted before" if early else "Live for ") in demo.said()
    assert "Traceback" not in demo.said()
    assert not demo.left()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_wrong_rule_settings_end_it_before_anything_starts(demos: Callable[..., Demo], tmp_path: Path) -> None:
    demo = demos(DIALYSIS_RULES=str(tmp_path))
    demo.watch(demo.has_ended, 30)
    assert demo.process.returncode == 2
    assert demo.said() == f"DIALYSIS_RULES: {tmp_path}: cannot be read: Is a directory: name a TOML file\n"
    assert not demo.children


def test_ctrl_c_ends_it_on_a_terminal_and_kept_data_is_not_mixed(demos: Callable[..., Demo], tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    first = demos(terminal=True, DIALYSIS_DATA=data)
    first.watch(lambda: "worker ok, lag" in first.said(), 90)
    assert "Chairs: " in first.said()
    first.process.send_signal(signal.SIGINT)
    first.watch(first.has_ended, 30)
    assert first.process.returncode == 0, first.said()
    assert "Live for " in first.said()
    assert len(first.children) >= 3
    assert not first.left()

    second = demos(DIALYSIS_DATA=data)
    second.watch(second.has_ended, 60)
    assert second.process.returncode == 1
    assert f"The data folder {data} holds an earlier run: delete it or choose another.\n" in second.said()
    assert not second.left()


def clock(said: str, pattern: str) -> float:
    """Seconds of the day of the first line that has a pattern after its time."""
    found = re.search(rf"^(\d\d):(\d\d):(\d\d) {pattern}", said, re.MULTILINE)
    assert found, f"{pattern} in:\n{said}"
    hours, minutes, seconds = map(int, found.groups()[:3])
    return hours * 3600 + minutes * 60 + seconds
