"""Log lines that a terminal can show: what others wrote never reaches it as it is."""

import logging
from typing import Any

from models.text import printable


class LineFormatter(logging.Formatter):
    """Replaces what must not be shown; a message is one line, a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        """The line without its traceback."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        """The traceback, each line made printable."""
        return "\n".join(map(printable, super().formatException(ei).split("\n")))
