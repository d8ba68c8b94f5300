"""`dialysis-alerts demo`: start everything, show it, and end everything that it started."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from models.settings import Settings
from streams.broker.command import ignore_signals, signals_interrupt
from streams.broker.errors import BrokerError
from streams.broker.kafka import EmbeddedKafka
from streams.broker.tcp_ports import HOST
from streams.commands.console import complain, say
from streams.demo import summary, unit_screen
from streams.demo.programs import DemoError, reserve
from streams.demo.stage import Stage
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.kafka.clients import KafkaFailedError
from streams.rules.catalogue import RuleSettingsError, load_settings

#: The usual port of a broker; if it is taken, the demo uses another one.
_BROKER_PORT: Final = 9092
#: How long the unit screen may take to end.
_PATIENCE_S: Final = 5.0
_TOO_EARLY: Final = "Interrupted before the demo was ready."


def run(settings: Settings, seconds: float | None = None, *, board: bool = True) -> int:
    """Run the demo until its time is over, SIGINT, SIGTERM or SIGHUP.

    Args:
        settings: Names of topics, number of partitions, data folder and so on; the demo replaces addresses.
        seconds: End after this time, counted from the moment when the unit is live; without end when `None`.
        board: Whether the unit screen runs as well.

    Returns:
        The exit status.
    """
    try:
        load_settings(settings.rules)
    except RuleSettingsError as error:
        for problem in error.problems:
            complain(f"DIALYSIS_RULES: {problem}")
        return WRONG_USE
    # Log lines of a client would break the view; an error that matters ends the demo with a sentence.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="dialysis-demo-"))
    status, keep = FAILED, False
    with signals_interrupt(), contextlib.ExitStack() as started:
        try:
            status = _run(settings, seconds, folder, started, board=board)
        except (BrokerError, KafkaFailedError, DemoError) as error:
            for line in str(error).splitlines():
                complain(line)
            keep = any(folder.iterdir())
        except KeyboardInterrupt:
            complain(_TOO_EARLY)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO) or error.filename is not None:
                raise
            # The reader or the terminal is gone; Python would report the error again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = DONE
        finally:
            # The stops are bounded in time; a second Ctrl-C would leave some programs running.
            ignore_signals()
            started.close()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
    return status


def _run(settings: Settings, seconds: float | None, folder: Path, started: contextlib.ExitStack, *, board: bool) -> int:
    screen = reserve(settings.board_address[1]) if board else None
    if screen is not None:
        started.callback(screen.release)
        settings = settings.model_copy(update={"board_http": f"{HOST}:{screen.number}"})
        _now(f"The unit screen: {unit_screen.address(settings)}")
    _now("Starting Kafka …")
    port = _free(_BROKER_PORT)
    kafka = EmbeddedKafka(settings.data, port)
    started.callback(kafka.close)
    programs = []
    if board:
        programs.append(unit_screen.start(settings.model_copy(update={"brokers": f"{HOST}:{port}"}), folder))
        started.callback(programs[0].end, _PATIENCE_S)
    kafka.start()
    wanted = settings.http_address[1]
    http = reserve(wanted)
    started.callback(http.release)
    if wanted not in {0, http.number}:
        _now(f"Port {wanted} is taken: the worker answers on port {http.number}.")
    _now(f"Kafka is ready: bootstrap.servers={kafka.bootstrap}")
    _now(f"Logs are in {folder}")
    ours = {
        "brokers": kafka.bootstrap,
        "http": f"{HOST}:{http.number}",
        "replication": 1,
        "rules": settings.rules and settings.rules.absolute(),
    }
    stage = Stage(settings.model_copy(update=ours), kafka, folder, started, programs)
    stage.scene.board = unit_screen.address(settings) if board else None
    live = asyncio.run(stage.play(seconds))
    ignore_signals()
    if live is None:
        complain(_TOO_EARLY)
        return FAILED
    summary.summarize(stage.scene, live)
    return DONE


def _free(wanted: int) -> int:
    port = reserve(wanted)
    port.release()
    return port.number


def _now(sentence: str) -> None:
    """Print a sentence at once: somebody may wait for the line."""
    say(sentence)
    sys.stdout.flush()
