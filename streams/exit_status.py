"""The exit statuses of every command."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
#: The command line, the settings or a file of the user cannot be used as they are.
WRONG_USE: Final = 2
