"""`dialysis-alerts broker`: the embedded Kafka in the foreground."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from streams.broker.errors import BrokerError
from streams.broker.kafka import EmbeddedKafka
from streams.exit_status import DONE, FAILED, WRONG_USE

_MAX_PORT = 65535


def run(port: int, data: Path | None) -> int:
    """Run a broker until SIGINT, SIGTERM or SIGHUP.

    Args:
        port: The port for clients; 0 lets the kernel pick one.
        data: The folder for its data; `None` for a temporary one.

    Returns:
        The exit status.
    """
    if not 0 <= port <= _MAX_PORT:
        _complain(f"Port {port} does not exist: choose one from 0 to {_MAX_PORT}.")
        return WRONG_USE
    kafka = EmbeddedKafka(data, port)
    with signals_interrupt():
        try:
            kafka.start()
            _greet(kafka, data)
            kafka.wait()
            _complain(f"Kafka has ended by itself: {kafka.why_it_ended()}.")
        except BrokerError as error:
            _complain(str(error))
        except KeyboardInterrupt:
            if kafka.running:
                ignore_signals()
                kafka.close()
                return DONE
            _complain("Interrupted before Kafka was ready.")
        finally:
            ignore_signals()
            kafka.close()
    return FAILED


def _greet(kafka: EmbeddedKafka, data: Path | None) -> None:
    """Print how to connect, and flush it, because a script may wait for the line."""
    place = f"data in {kafka.data}" if data else "data is removed at the end, keep it with --data FOLDER"
    print(f"Kafka is ready: bootstrap.servers={kafka.bootstrap}", flush=True)
    print(f"Ctrl-C stops it; {place}.", flush=True)


def _complain(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `KeyboardInterrupt` like SIGINT, so that all three end a start or a wait."""
    numbers = ending_signals()
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore signals during the stop: it ends soon, and a second Ctrl-C would leave a broker running."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command; SIGHUP only if it was not ignored at the start (`nohup`)."""
    return (signal.SIGINT, signal.SIGTERM, *(() if _NOHUP else (signal.SIGHUP,)))


#: Read once, at import: while a command ends, it ignores the signals itself.
_NOHUP: Final = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
