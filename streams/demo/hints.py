"""What to try next: addresses and commands that work unchanged."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from models.alerts import Alert
from models.settings import Settings
from models.topics import ALERTS_ACTIVE, CLINICAL_EVENTS, LAB_RESULTS

#: The file that holds all of them.
FILE: Final = "next.txt"
_FAMILY: Final = "alerts.low-magnesium"
#: Placeholder for the time, which the shell fills in.
_NOW: Final = "@now"
_DATE: Final = "'$(date -u +%FT%TZ)'"
_READER: Final = """\
import asyncio
from aiokafka import AIOKafkaConsumer

async def main():
    async with AIOKafkaConsumer("{topic}", bootstrap_servers="{brokers}", auto_offset_reset="earliest") as alerts:
        async for record in alerts:
            print(record.key, record.value)

asyncio.run(main())"""


class Hint(NamedTuple):
    """A command and its purpose."""

    purpose: str
    command: str


def short_hints(settings: Settings, folder: Path) -> list[Hint]:
    """List the hints that fit on a small terminal."""
    return [
        Hint("metrics", f"curl http://{settings.http}/metrics  (and /readyz, /healthz)"),
        Hint("alerts", f"kcat -b {settings.brokers} -C -q -u -t {settings.topic(_FAMILY)}"),
        Hint("acknowledge one, and more", f"cat {folder / FILE}"),
    ]


def long_hints(settings: Settings, folder: Path) -> list[Hint]:
    """List the hints that fit on one line each of a large terminal."""
    more = Hint("acknowledge an alert, make one, read them from Python, logs", f"cat {folder / FILE}")
    return [*_looks(settings), more]


def _looks(settings: Settings) -> list[Hint]:
    brokers = settings.brokers
    family, active = settings.topic(_FAMILY), settings.topic(ALERTS_ACTIVE)
    return [
        Hint("metrics of the worker", f"curl http://{settings.http}/metrics"),
        Hint("is it ready, and why not", f"curl http://{settings.http}/readyz"),
        Hint("one family of alerts, as they come", f"kcat -b {brokers} -C -q -u -o end -t {family} -f '%T %k %s\\n'"),
        Hint("all that is open, as a screen reads it", f"kcat -b {brokers} -C -q -e -t {active} -f '%k %s\\n'"),
        Hint("what could not be used, by reason", f"DIALYSIS_BROKERS={brokers} {_command()} dead-letters"),
    ]


def _command() -> str:
    """Return the call of this program: its full path beside Python, else its name."""
    beside = Path(sys.executable).with_name("dialysis-alerts")
    return str(beside) if beside.exists() else "dialysis-alerts"


def acknowledgement(settings: Settings, alert: Alert | None) -> str:
    """Build the command that acknowledges an alert."""
    patient = (alert.patient_id if alert else None) or "PATIENT_ID"
    named = alert.alert_id if alert else "ALERT_ID"
    fields = {"type": "alert_response", "alert_id": named, "by": "me", "action": "acknowledge"}
    return _publish(settings, CLINICAL_EVENTS, patient, fields)


def _low_magnesium(settings: Settings) -> str:
    fields = {"type": "lab_result", "result_id": "my-1", "analyte": "magnesium", "unit": "mg/dL", "value": 0.8}
    return _publish(settings, LAB_RESULTS, "P00002", fields)


def _publish(settings: Settings, topic: str, patient: str, fields: Mapping[str, object]) -> str:
    said = json.dumps({**fields, "patient_id": patient, "at": _NOW}, separators=(",", ":")).replace(_NOW, _DATE)
    kcat = f"kcat -b {settings.brokers} -P -t {settings.topic(topic)} -k {patient} -X partitioner=murmur2_random"
    return f"echo '{said}' | {kcat}"


def write(settings: Settings, folder: Path, logs: Sequence[Path], alert: Alert | None) -> None:
    """Write all hints into a file of the demo's folder, with the command that acknowledges this alert."""
    acts = [
        Hint(f"acknowledge {_named(alert)}", acknowledgement(settings, alert)),
        Hint("make an alert", _low_magnesium(settings)),
    ]
    parts = [f"# {hint.purpose}\n{hint.command}\n" for hint in (*_looks(settings), *acts)]
    code = _READER.format(topic=settings.topic(ALERTS_ACTIVE), brokers=settings.brokers)
    parts.append(f"# read alerts from Python\n{sys.executable} - <<'END'\n{code}\nEND\n")
    parts.append("# logs\n" + "".join(f"less {log}\n" for log in logs))
    file = folder / FILE
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join(parts))
    fresh.replace(file)


def _named(alert: Alert | None) -> str:
    if alert is None:
        return "an alert: its id and patient in place of the capitals"
    return f"the most urgent alert, {alert.rule} of {alert.patient_id}"
