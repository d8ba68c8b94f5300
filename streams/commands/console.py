"""Print tables and sentences for people: drawn by rich in a terminal, aligned plain text elsewhere."""

import sys
from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.text import printable


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout; cells may hold anything, characters that a terminal would act on become `?`."""
    cells = [[printable(cell) for cell in row] for row in rows]
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(title=title, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip_longest(columns, *cells, fillvalue="")]
    for row in [list(columns), *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print(line.rstrip())


def say(sentence: str) -> None:
    """Print one line on stdout, without markup."""
    print(printable(sentence))


def complain(sentence: str) -> None:
    """Print one line on stderr, in red where that is a terminal."""
    Console(stderr=True, file=sys.stderr).print(
        printable(sentence), style="red", highlight=False, markup=False, soft_wrap=True
    )
