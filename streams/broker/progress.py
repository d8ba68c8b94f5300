"""The progress of a download, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from streams.broker.jars import Advance


@contextmanager
def progress_bar(files: int, size: int) -> Iterator[Advance]:
    """Show the progress of a download: a bar on a terminal, else one line.

    Args:
        files: Number of files to download.
        size: Their size in bytes.

    Yields:
        A function to call with the number of bytes that came.
    """
    console = Console(stderr=True)
    title = f"Downloading Apache Kafka ({files} files)"
    if files == 0:
        yield _ignore
    elif not console.is_terminal:
        console.print(f"{title}, {size / 1e6:.0f} MB …", highlight=False, soft_wrap=True)
        yield _ignore
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(title, total=size)
            yield lambda count: progress.advance(task, count)


def _ignore(_: int) -> None:
    """Ignore the bytes of a download without a bar."""
