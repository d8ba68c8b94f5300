"""A made-up unit for the pages: chairs, sessions and alerts as the server tells of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

Json = dict[str, Any]

FAMILIES: Final = {
    "low_ionized_calcium": "electrolytes", "intradialytic_hypotension": "session", "uf_rate_high": "session",
    "low_magnesium": "low-magnesium", "intradialytic_cramp": "cramp", "baclofen_dose": "medication",
    "post_dialysis_labs_missing": "monitoring", "aluminum_cluster": "unit", "high_potassium": "electrolytes",
}  # fmt: skip
SUMMARIES: Final = {
    "low_ionized_calcium": "Ionised calcium 0.78 mmol/L, below 0.80",
    "intradialytic_hypotension": "Systolic 84 mmHg, 41 below pre-dialysis",
    "uf_rate_high": "UF 13.6 mL/kg/h for 6 min, above 13",
    "low_magnesium": "Magnesium 1.4 mg/dL, below 1.7",
    "intradialytic_cramp": "Cramp, score 7, since 12 min",
    "baclofen_dose": "Baclofen 15 mg a day, above 10",
    "post_dialysis_labs_missing": "No magnesium since the session of Friday",
    "aluminum_cluster": "2 patients on loop-2 within 30 days",
    "high_potassium": "Potassium 6.7 mmol/L, above 6.5",
}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(minutes: float) -> str:
    return iso(now() - timedelta(minutes=minutes))


def alert(alert_id: str, rule: str, priority: str, *, minutes: float = 4, **changes: Any) -> Json:
    """One alert as `AlertShort`."""
    return {
        "alert_id": alert_id, "rule": rule, "title": rule.replace("_", " ").capitalize(), "family": FAMILIES[rule],
        "priority": priority, "status": "active", "revision": 1, "summary": SUMMARIES[rule], "at": ago(minutes),
        "raised_at": ago(minutes), "acknowledged_by": None, "acknowledged_at": None, "snoozed_until": None,
        "inhibited_by": None, "ended_unacknowledged": False, "answer": None, **changes,
    }  # fmt: skip


def free(room: str, chair: str) -> Json:
    """A chair on which nobody is."""
    return dict.fromkeys(
        ("patient_id", "session_id", "since", "planned_minutes", "planned_end", "elapsed_minutes",
         "systolic_mmhg", "systolic_at", "uf_rate_ml_h", "uf_rate_at", "machine_id", "priority")
    ) | {"chair": chair, "room": room, "unit_id": "unit-1", "unacknowledged": 0, "alerts": []}  # fmt: skip


def tile(room: str, chair: str, number: int, alerts: list[Json] | None = None) -> Json:
    """A chair with a running treatment."""
    elapsed = 20 + number * 37 % 200
    alerts = alerts or []
    ranks = ["low", "medium", "high"]
    worst = max((found["priority"] for found in alerts), key=ranks.index, default=None)
    return {
        "chair": chair, "room": room, "unit_id": "unit-1", "patient_id": f"P-{1000 + number * 7}",
        "session_id": f"s-{number}", "since": ago(elapsed), "planned_minutes": 240,
        "planned_end": iso(now() + timedelta(minutes=240 - elapsed)), "elapsed_minutes": elapsed,
        "systolic_mmhg": 104 + number * 13 % 50, "systolic_at": ago(number * 3 % 17 + 1),
        "uf_rate_ml_h": 480 + number * 70 % 420, "uf_rate_at": ago(0.4), "machine_id": f"m-{number}",
        "priority": worst, "unacknowledged": sum(found["status"] == "active" for found in alerts), "alerts": alerts,
    }  # fmt: skip


def _told() -> dict[str, list[Json]]:
    """The alerts of the unit, by chair."""
    seen: Json = {"status": "acknowledged", "acknowledged_by": "N. Meyer", "acknowledged_at": ago(2), "revision": 2}
    later: Json = {"status": "snoozed", "snoozed_until": iso(now() + timedelta(minutes=11)), "revision": 2}
    over: Json = {"status": "resolved", "ended_unacknowledged": True, "revision": 2}
    return {
        "A3": [alert("a-high", "low_ionized_calcium", "high", minutes=2), alert("a-mag", "low_magnesium", "medium")],
        "A7": [alert("a-bp", "intradialytic_hypotension", "medium", minutes=6)],
        "A10": [alert("a-cramp", "intradialytic_cramp", "medium", **seen)],
        "B2": [alert("b-uf", "uf_rate_high", "low", minutes=12)],
        "B5": [alert("b-k", "high_potassium", "high", minutes=31, **seen),
               alert("b-uf2", "uf_rate_high", "low", **later), alert("b-bac", "baclofen_dose", "low", minutes=90)],
        "B9": [alert("b-over", "intradialytic_hypotension", "medium", minutes=25, **over)],
    }  # fmt: skip


def unit() -> Json:
    """The state of `/api/room`: two rooms of twelve chairs, some of them free, with every kind of alert."""
    told = _told()
    rooms = []
    for room, letter in (("Room A", "A"), ("Room B", "B")):
        chairs = []
        for number in range(1, 13):
            name = f"{letter}{number}"
            if name in ("A5", "A12", "B7", "B11"):
                chairs.append(free(room, name))
            else:
                chairs.append(tile(room, name, number + (0 if letter == "A" else 12), told.get(name)))
        rooms.append({"name": room, "chairs": chairs})
    loop = alert("u-al", "aluminum_cluster", "medium", minutes=400, water_loop_id="loop-2")
    labs = alert("x-labs", "post_dialysis_labs_missing", "low", minutes=200, patient_id="P-4711")
    return state(rooms, without_chair=[labs], unit_alerts=[loop])


def state(rooms: list[Json], **changes: Any) -> Json:
    return {
        "now": iso(now()), "blind": {"is_blind": False, "reasons": []}, "shown_at": iso(now()), "rooms": rooms,
        "elsewhere": [], "without_chair": [], "unit_alerts": [], "hint": {"unreadable": 0}, **changes,
    }  # fmt: skip


def large(chairs: int = 500, each: int = 4) -> Json:
    """A unit as large as the issue asks for: 500 chairs and 2,000 alerts."""
    rules = list(FAMILIES)
    rooms = []
    for room in range(chairs // 50):
        tiles = []
        for number in range(50):
            index = room * 50 + number
            found = [
                alert(f"{index}-{extra}", rules[(index + extra) % len(rules)], ("low", "medium", "high")[extra % 3])
                for extra in range(each)
            ]
            tiles.append(tile(f"Room {room}", f"{room}-{number}", index, found))
        rooms.append({"name": f"Room {room}", "chairs": tiles})
    return state(rooms)


def details(found: Json, chair: str | None, patient: str | None) -> Json:
    """What `/api/alerts/{id}` adds to an alert."""
    start = now() - timedelta(minutes=50)
    values = [121, 118, 119, 112, 108, 101, 97, 92, 86, 84]
    history = [{
        "at": found["raised_at"], "status": "active", "revision": 1,
        "by": None, "reason": "condition_met", "note": None,
    }]  # fmt: skip
    if found["revision"] > 1:
        history.append({
            "at": found["at"], "status": found["status"], "revision": found["revision"],
            "by": found["acknowledged_by"], "reason": "acknowledged", "note": None,
        })  # fmt: skip
    return found | {
        "guidance": [
            {"text": "Review the ultrafiltration rate and the position.", "basis": "article L44; KDOQI 2015"},
            {"text": "Look at the dry weight before the next session.", "basis": "clinical.md 2.6"},
        ],
        "evidence": [
            {"kind": "telemetry", "id": "s-7", "name": "systolic", "value": 84, "unit": "mmHg", "at": ago(6)},
            {"kind": "session", "id": "s-7", "name": "pre-dialysis systolic", "value": 125.0, "unit": "mmHg",
             "at": ago(96)},
        ],
        "context": [[iso(start + timedelta(minutes=5 * step)), value] for step, value in enumerate(values)],
        "bound": {"value": 90, "unit": "mmHg"}, "inhibits": ["b-uf"], "history": history, "patient_id": patient,
        "chair": chair, "session_id": "s-7",
    }  # fmt: skip


def load() -> Json:
    """The state of `/api/load`."""
    counts = [("uf_rate_high", "low", 41), ("intradialytic_hypotension", "medium", 23), ("low_magnesium", "medium", 9),
              ("low_ionized_calcium", "high", 3), ("intradialytic_cramp", "medium", 7)]  # fmt: skip
    return {
        "since": ago(24 * 60), "alerts_by_rule": [{"rule": r, "priority": p, "count": n} for r, p, n in counts],
        "pages_per_session": 0.83, "unanswered": 6, "median_seconds_to_acknowledge": 94,
        "noisiest_chairs": [{"chair": f"A{n}", "count": 22 - 2 * n} for n in range(1, 11)],
    }  # fmt: skip
