"""Handle output that cannot be written: a full disk, a closed pipe, no standard output at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

from streams.exit_status import FAILED

_STREAMS: Final = ("stdin", "stdout", "stderr")
#: Errors of a write to a stream; other errors, and those that name a file, are not handled here.
_UNWRITABLE: Final = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.ECONNRESET}
)


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Run a command, and write all that it printed at the end.

    If that fails, print one sentence on standard error; the exit status is 1. A reader that closes its pipe has enough:
    the command ends without a message, with exit status 1 as well.

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
    """Put a descriptor that refuses every use (standard error: drops output) in place of each closed stream.

    Python has None there, and the next opened file or socket would get its number.
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
    """Discard output that is still buffered: Python would try to write it again at its end, and report the error."""
    void = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(void, stream.fileno())
    os.close(void)
