"""Format log lines that a terminal can show: text of others never reaches it unchanged."""

import logging
from typing import Any

from models.text import printable


class LineFormatter(logging.Formatter):
    """Replaces unprintable characters; a message is one line, a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        """Format the line without its traceback."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        """Format the traceback, each line made printable."""
        return "\n".join(map(printable, super().formatException(ei).split("\n")))
