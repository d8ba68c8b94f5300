"""Tie this process's life to the parent's, then become the JVM: run as a script, never imported.

A `preexec_fn` would do the same between fork and exec, where Python code may deadlock when the parent has threads; a
small separate program cannot. The pid stays the same through `execv`.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take `parent-pid cpu,cpu… program arguments…` and become the program."""
    parent, cpus, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above; then no signal would ever come.
        if os.getppid() != int(parent):
            sys.exit(1)
        if cpus:
            os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
