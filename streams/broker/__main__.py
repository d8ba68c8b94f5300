"""`python -m streams.broker`: the `broker` command alone."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.broker.command import run


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks a free one.")] = 9092,
    data: Annotated[Path | None, typer.Option(help="Keep the data in this folder.")] = None,
) -> None:
    """Run a real Kafka on this machine until Ctrl-C."""
    sys.exit(run(port, data))


if __name__ == "__main__":
    typer.run(main)
