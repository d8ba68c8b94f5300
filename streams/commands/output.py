"""What a command prints, where nobody can take it: a full disk, a closed pipe, no standard output at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

from streams.exit_status import FAILED

_STREAMS: Final = ("stdin", "stdout", "stderr")
#: What a write to a stream fails with; other errors, and those that name a file, are none of ours.
_UNWRITABLE: Final = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.ECONNRESET}
)


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Run a command; what it printed is written when this is left.

    Where it cannot be, one sentence on standard error says so and the exit status is 1. Who reads a pipe and closes
    it has enough: that ends the command without a word, with exit status 1 as well.

    Raises:
        SystemExit: The command's own, or that of an output that cannot be written.
    """
    _occupy_streams()
    status: SystemExit | None = None
    try:
        try:
            yield
        except SystemExit as end:
            status = end
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _say(error)
        _give_up_output()
        raise SystemExit(FAILED) from None
    if status is not None:
        raise status


def _occupy_streams() -> None:
    """Give each stream that was closed before the start a place that takes nothing.

    Python has None there, and the next file or socket to be opened would get its number.
    """
    for number, name in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            mode = os.O_WRONLY if name == "stdin" else os.O_RDONLY  # the wrong way round: each use is an error
            descriptor = os.open(os.devnull, mode if name != "stderr" else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            file = os.fdopen(number, "r" if name == "stdin" else "w", closefd=False)
            setattr(sys, name, file)


def _say(error: OSError) -> None:
    if error.errno != errno.EPIPE:
        with contextlib.suppress(OSError):
            print(f"The output cannot be written: {error.strerror}.", file=sys.stderr, flush=True)


def _give_up_output() -> None:
    """What is still held would be tried again, and complained about, when Python ends."""
    void = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(void, stream.fileno())
    os.close(void)
