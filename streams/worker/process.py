"""`worker`: the Faust worker. Serves health, waits for the broker, runs the tasks, stops in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from models.parsing import parse_loop_event, parse_patient_event
from models.settings import Settings
from models.state import LoopState, NewerSchemaError, PatientState, StateCodec
from models.topics import (
    ALERTS_ACTIVE,
    INGEST,
    PATIENT_TOPICS,
    SESSIONS_ACTIVE,
    UNIT_SIGNALS,
    WORKER_STATUS,
    all_topics,
)
from streams.engine.factory import loop_partition, patient_partition
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.rules.catalogue import RuleSettings, RuleSettingsError, load_settings
from streams.transport import App, PartitionCountError, TopicMadeAnewError, TopicWatch, check_partitions, create_app
from streams.transport import run as run_app
from streams.worker.active_alerts_watch import ActiveAlertsWatch
from streams.worker.assignment import Assignment
from streams.worker.gc_pause import shorten_collections
from streams.worker.health import Health
from streams.worker.http_server import AddressError, HttpServer, raise_descriptor_limit
from streams.worker.log_limit import LogLimit, limit_logs
from streams.worker.logs import LineFormatter
from streams.worker.loop_watch import LoopWatch
from streams.worker.metrics import Metrics
from streams.worker.ports import Kind
from streams.worker.recovered_state import BadStateError
from streams.worker.sender import Outgoing, Sender
from streams.worker.start_checks import LostStateError, check_state

log = logging.getLogger(__name__)

#: How often each partition's owner writes `worker-status`.
STATUS_S: Final = 5.0
#: The worker's own timer: health and gauges.
TIMER_S: Final = 1.0
_encode = msgspec.json.Encoder().encode


def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT; return the exit status."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    for chatty in ("aiokafka", "faust", "mode", "aiohttp.access"):
        logging.getLogger(chatty).setLevel("DEBUG" if settings.log_level == "debug" else "WARNING")
    limit = limit_logs()
    raise_descriptor_limit()
    try:
        rules = load_settings(settings.rules)
    except RuleSettingsError as error:
        for problem in error.problems:
            print(f"DIALYSIS_RULES: {problem}", file=sys.stderr)
        return WRONG_USE
    for risk in rules.risks:
        log.warning("risk accepted in [%s]: %s; accepted: %s", risk.name, "; ".join(risk.silenced), risk.accepted)
    # Imported objects stay: if the collector skips them, its longest pause is a tenth.
    gc.freeze()
    shorten_collections()
    return asyncio.run(Worker(settings, rules, limit).run())


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings, rules: RuleSettings, limit: LogLimit | None = None) -> None:
        self._settings, self._rules, self._limit = settings, rules, limit or LogLimit()
        self._metrics, self._health = Metrics(), Health()
        for risk in rules.risks:
            self._metrics.accepted_risks.labels(risk.name).set(1)
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._assignments: list[Assignment[Any]] = []
        self._handled: dict[tuple[str, int], int] = {}
        self._assigned: list[tuple[str, int]] = []
        self._ready = 0

    async def run(self) -> int:
        """Serve HTTP, wait for the broker, run the tasks; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        server = HttpServer(self._settings.http_address, self._health, self._metrics.registry)
        try:
            async with server:
                log.info("metrics and health on port %d", server.port)
                return await self._serve()
        except AddressError as error:
            print(error, file=sys.stderr)
            return FAILED

    async def _serve(self) -> int:
        timer = asyncio.create_task(self._timer(), name="timer")
        pauses = asyncio.create_task(LoopWatch(self._metrics).run(), name="loop watch")
        try:
            if not await self._broker_is_ready():
                return DONE
            app = create_app(self._settings)
            self._assignments = [
                Assignment(app, kind, self._settings, self._metrics, self._health, self._assignment, self._fail)
                for kind in self._kinds()
            ]
            status = asyncio.create_task(self._tell_status(app), name="status")
            active_alerts = asyncio.create_task(
                ActiveAlertsWatch(app, self._settings, self._assignments).watch(), name="active alerts"
            )
            watch = asyncio.create_task(
                TopicWatch(self._settings, self._wanted(), self._health.topics).watch(), name="topics"
            )
            for task in (status, active_alerts, watch):
                task.add_done_callback(self._ended)
            try:
                await run_app(app, self._stop)
            finally:
                status.cancel()
                active_alerts.cancel()
                watch.cancel()
        except (PartitionCountError, LostStateError) as error:
            print(error, file=sys.stderr)
            return WRONG_USE
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the worker, logged below)
            self._error = self._error or error
        finally:
            timer.cancel()
            pauses.cancel()
        if self._error is not None:
            if isinstance(self._error, NewerSchemaError | BadStateError | TopicMadeAnewError):
                print(self._error, file=sys.stderr)
            else:
                log.error("the worker ends: %s", self._error, exc_info=self._error)
            return FAILED
        log.info("the worker ended; everything handled is stored")
        return DONE

    def _fail(self, error: BaseException) -> None:
        """Stop on an error that no repetition can mend; a supervisor starts the worker again."""
        self._error = self._error or error
        self._stop.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Stop if a watch or the status task fails: without a status, readers take the worker for dead."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _kinds(self) -> tuple[Kind[PatientState], Kind[LoopState]]:
        def on_rule_error(rule: str) -> None:
            self._metrics.rule_errors.labels(rule).inc()

        retention = self._settings.retention
        return (
            Kind(
                "patients",
                PATIENT_TOPICS,
                "patient_id",
                StateCodec(PatientState),
                parse_patient_event,
                lambda: patient_partition(self._rules, retention, on_rule_error),
            ),
            Kind(
                "loops",
                (UNIT_SIGNALS,),
                "water_loop_id",
                StateCodec(LoopState),
                parse_loop_event,
                lambda: loop_partition(self._rules, retention, on_rule_error),
            ),
        )

    async def _broker_is_ready(self) -> bool:
        """Wait until the broker answers and the topics are as they must be; False if stopped meanwhile."""
        checking = asyncio.create_task(self._check())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({checking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not checking.done():
            checking.cancel()
            return False
        checking.result()
        return True

    async def _check(self) -> None:
        await check_partitions(self._settings, self._wanted(), self._needs())
        await check_state(self._settings)

    def _wanted(self) -> dict[str, int | None]:
        """List every topic that the worker reads or writes, with its number of partitions where that matters."""
        settings = self._settings
        numbered = {*PATIENT_TOPICS, UNIT_SIGNALS, ALERTS_ACTIVE, SESSIONS_ACTIVE}
        return {
            spec.name if spec.internal else settings.topic(spec.name): settings.partitions
            if spec.internal or spec.name in numbered
            else None
            for spec in all_topics(settings.group, settings.max_message_bytes)
            if spec.name != INGEST
        }

    def _needs(self) -> dict[str, int]:
        """List the smallest `max.message.bytes` of the topics that need one."""
        settings = self._settings
        return {
            spec.name if spec.internal else settings.topic(spec.name): spec.needs
            for spec in all_topics(settings.group, settings.max_message_bytes)
            if spec.needs
        }

    # -- signs of life ------------------------------------------------------------------------------------------------

    async def _timer(self) -> None:
        while True:
            self._health.ticked()
            self._limit.tell()
            self._metrics.last_tick_timestamp_seconds.set(time.time())
            await asyncio.sleep(TIMER_S)

    async def _tell_status(self, app: App) -> None:
        """Update gauges every second; send `worker-status` of own partitions every five."""
        sender, due = Sender(app), 0.0
        while True:
            await asyncio.sleep(TIMER_S)
            self._watch(app)
            if time.monotonic() >= due and (statuses := self._statuses(app)):
                due = time.monotonic() + STATUS_S
                await sender.send_all(statuses)

    def _assignment(self) -> None:
        """Report that partitions came or went. Health waits for the recovery until every kind has its state again."""
        before, self._ready = self._ready, sum(assignment.ready for assignment in self._assignments)
        if self._ready <= before:  # also partitions lost during their takeover: they were counted already
            self._metrics.partitions_revoked()
        if self._ready < before:
            self._health.assigned(self._assigned)
        if self._ready < len(self._assignments):
            return
        self._assigned = [(tp.topic, tp.partition) for assignment in self._assignments for tp in assignment.tps]
        self._health.assigned(self._assigned)
        self._health.recovered()
        self._metrics.assignments.inc()

    def _watch(self, app: App) -> None:
        now = time.monotonic()
        if app.heartbeat_at is not None and now - app.heartbeat_at < TIMER_S * 3:
            self._health.broker_answered()
        # Known only once the tasks of all kinds are there: 0 until then.
        self._metrics.state_recovery_seconds.set(app.recovery_seconds or 0.0)
        for assignment in self._assignments:
            for tp in assignment.tps:
                lag = app.lag(tp)
                if lag is not None:
                    self._metrics.lag(tp.topic, tp.partition, lag)
            for number, task in assignment.tasks.items():
                gauge = (
                    self._metrics.clock_timestamp_seconds
                    if assignment.kind.table == "patients"
                    else self._metrics.loop_clock_timestamp_seconds
                )
                if len(task.subjects):
                    gauge.labels(str(number)).set(task.subjects.now.timestamp())
                progress = self._handled.get((assignment.kind.table, number)) != task.handled or task.is_current()
                self._handled[assignment.kind.table, number] = task.handled
                if progress:
                    for topic in assignment.topics.topics:
                        self._health.polled(topic, number)

    def _statuses(self, app: App) -> list[Outgoing]:
        """Build the `worker-status` messages: the clock of each partition, and how far it is behind."""
        topic, messages = self._settings.topic(WORKER_STATUS), []
        for assignment in self._assignments:
            if assignment.kind.table != "patients":
                continue
            recovering = app.recovering.get(assignment.kind.table, set())
            for number in sorted(assignment.tasks.keys() | recovering):
                task = None if number in recovering else assignment.tasks[number]
                known = task is not None and len(task.subjects) > 0
                value = {
                    "partition": number,
                    "now": task.subjects.now if task and known else None,
                    "lag_seconds": round(task.lag().total_seconds(), 3) if task and known else None,
                    "recovering": task is None,
                    "current": task is not None and task.is_current(),
                    "patients": len(task.subjects) if task else 0,
                    "rules_hash": self._rules.hash,
                    "at": datetime.now(UTC),
                }
                messages.append(Outgoing(topic, str(number).encode(), _encode(value)))
        return messages
