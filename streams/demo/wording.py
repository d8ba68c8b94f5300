"""The texts that both displays of the demo share: times, places, priorities, states, the worker."""

from datetime import datetime, timedelta
from typing import Final

from models.alerts import Alert, Priority, Status
from streams.demo.scene import Scene

#: IEC 60601-1-8 marks priorities with one to three signs, so that they differ not only by colour.
MARKS: Final = {Priority.HIGH: "!!!", Priority.MEDIUM: "!!", Priority.LOW: "!", Priority.INFO: "i"}
_STATES: Final = {Status.ACTIVE: "active", Status.ACKNOWLEDGED: "ack", Status.SNOOZED: "snoozed"}


def place(alert: Alert, chairs: dict[str, str]) -> str:
    """Return where to go: a chair, else the patient, else the water loop. `chairs` is by patient."""
    if alert.patient_id is None:
        loop = alert.water_loop_id or alert.unit_id or "unit"
        return loop.partition("-")[2] or loop
    return chairs.get(alert.patient_id) or alert.chair or alert.patient_id


def chairs_by_patient(scene: Scene) -> dict[str, str]:
    """Return the present chair of each patient."""
    return {seat.patient_id: chair for chair, seat in scene.screen_state.chairs().items()}


def state(alert: Alert) -> str:
    """Return the status, and the number of escalations of an unanswered alert."""
    word = _STATES.get(alert.status, alert.status.value)
    return f"{word} +{alert.escalation}" if alert.status is Status.ACTIVE and alert.escalation else word


def age(since: datetime, now: datetime) -> str:
    """Format the age of a moment in at most four characters."""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    if seconds < 60:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 72 else f"{min(hours // 24, 999)}d"


def clock(moment: datetime) -> str:
    """Format the local time of day."""
    return f"{moment.astimezone():%H:%M:%S}"


def rate(scene: Scene) -> str:
    """Format the number of events a second."""
    found = scene.gauges.rate
    return "- events/s" if found is None else f"{found:.1f} events/s"


def latency(scene: Scene) -> str:
    """Format the latency from event to alert."""
    half, most = scene.gauges.latency(0.5), scene.gauges.latency(0.99)
    if half is None or most is None:
        return "event to alert -"
    return f"event to alert p50 {_duration(half)} p99 {_duration(most)} (of {scene.gauges.alerts})"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def open_alerts(scene: Scene, *, marked: bool = False) -> str:
    """Format the number of open alerts by priority; `marked` adds the marks that a list has in place of the words."""
    tally = scene.screen_state.by_priority()
    named = {priority: f"{priority} {MARKS[priority]}" if marked else str(priority) for priority in tally}
    counts = ", ".join(f"{number} {named[priority]}" for priority, number in tally.items() if number)
    return f"{sum(tally.values())} open: {counts}" if counts else "none open"


def blindness(scene: Scene, now: datetime) -> str | None:
    """Return the warning of a reader that has received no status from the worker for too long, else None."""
    if not scene.live or not scene.screen_state.is_blind(now):
        return None
    silence = scene.screen_state.silence(now)
    how_long = f"for {silence.total_seconds():.0f} s" if silence else "at all"
    return f"BLIND: no word from the worker {how_long}"


def worker(scene: Scene, now: datetime) -> str:
    """Format the state of the worker."""
    blind = blindness(scene, now)
    if blind:
        return blind
    if not scene.live:
        return f"past: {scene.progress():.0%}"
    spoke, wanted = scene.screen_state.partitions(now), scene.settings.partitions
    word = "ok" if spoke >= wanted else f"{spoke} of {wanted} partitions"
    return f"worker {word}, lag {scene.gauges.lag:.0f}"
