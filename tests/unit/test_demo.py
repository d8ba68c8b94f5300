"""The demo's parts without a broker: what its reader knows, what its views show, what its nurse does."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from models.alerts import Alert, Priority, Status
from models.settings import Settings
from models.topics import FAMILIES, PATIENT_TOPICS
from streams.demo import hints, wording
from streams.demo.gauges import Gauges
from streams.demo.nurse import Nurse, answer
from streams.demo.plain import Plain
from streams.demo.programs import environment, last_lines
from streams.demo.reader import take
from streams.demo.scene import Scene
from streams.demo.screen_state import ScreenState, kinds
from streams.demo.stage import BACKFILL
from streams.demo.summary import summarize
from streams.demo.view import draw
from streams.kafka.clients import Record

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)


def alert(number: int = 1, revision: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "alert_id": f"id-{number}",
        "revision": revision,
        "rule": "low_magnesium",
        "rule_version": 1,
        "family": "low-magnesium",
        "status": "active",
        "transition": "raised",
        "reason": "condition_met",
        "priority": "medium",
        "escalation": 0,
        "patient_id": f"P{number:05d}",
        "unit_id": "U1",
        "session_id": None,
        "chair": None,
        "water_loop_id": "U1-loop-A",
        "onset_at": (NOW - timedelta(minutes=4)).isoformat(),
        "at": NOW.isoformat(),
        "summary": "Magnesium 1.4 mg/dL, low (below 1.7 mg/dL)",
        "guidance": [],
        "evidence": [],
    } | other


def value(**other: Any) -> bytes:
    return json.dumps(alert(**other)).encode()


def seat(number: int, chair: str, minutes: int = 90) -> bytes:
    since = NOW - timedelta(minutes=minutes)
    fields = {"session_id": f"S{number}", "patient_id": f"P{number:05d}", "chair": chair, "systolic_mmhg": 121.0}
    return json.dumps(fields | {"since": since.isoformat(), "at": NOW.isoformat(), "machine_id": "M1"}).encode()


def word(partition: int, at: datetime, **other: Any) -> bytes:
    return json.dumps({"partition": partition, "at": at.isoformat(), "recovering": False} | other).encode()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    settings = Settings(brokers="127.0.0.1:9092", http="127.0.0.1:6066", partitions=2)
    start = NOW - timedelta(seconds=30)
    scene = Scene(settings, tmp_path, start - BACKFILL, start, live=True)
    for number in range(1, 20):
        scene.screen_state.session(f"S{number}", seat(number, f"{number:02d}"))
    for partition in range(2):
        scene.screen_state.worker_status(word(partition, NOW))
    return scene


def raise_alerts(screen_state: ScreenState, *priorities: str) -> None:
    for number, priority in enumerate(priorities, 1):
        screen_state.transition(value(number=number, priority=priority))
        screen_state.alert(f"id-{number}", value(number=number, priority=priority))


# -- the reader


def test_repeats_are_dropped_and_no_alert_goes_back() -> None:
    screen_state = ScreenState()
    assert screen_state.transition(value())
    assert not screen_state.transition(value())
    assert screen_state.transition(value(revision=2, transition="acknowledged"))
    assert not screen_state.transition(value())
    assert screen_state.counts == {("low_magnesium", "raised"): 1, ("low_magnesium", "acknowledged"): 1}
    screen_state.alert("id-1", value(revision=2, status="acknowledged"))
    screen_state.alert("id-1", value())
    assert screen_state.open["id-1"].status is Status.ACKNOWLEDGED


def test_an_alert_leaves_with_its_end_or_its_tombstone() -> None:
    screen_state = ScreenState()
    screen_state.alert("id-1", value())
    screen_state.alert("id-1", value(revision=2, status="resolved", transition="resolved"))
    assert not screen_state.open
    screen_state.alert("id-1", value())
    assert not screen_state.open
    screen_state.alert("id-2", value(number=2))
    screen_state.alert("id-2", None)
    screen_state.alert("id-2", value(number=2))
    assert not screen_state.open
    screen_state.alert("id-2", value(number=2, revision=3))
    assert list(screen_state.open) == ["id-2"]


def test_a_session_leaves_with_its_tombstone_and_the_newer_one_has_the_chair() -> None:
    screen_state = ScreenState()
    screen_state.session("S1", seat(1, "07", minutes=300))
    screen_state.session("S2", seat(2, "07", minutes=5))
    assert screen_state.chairs()["07"].session_id == "S2"
    screen_state.session("S2", None)
    assert screen_state.chairs()["07"].session_id == "S1"


def test_ten_seconds_without_a_word_are_blindness(scene: Scene) -> None:
    assert ScreenState().is_blind(NOW)
    assert not scene.screen_state.is_blind(NOW + timedelta(seconds=10))
    later = NOW + timedelta(seconds=11)
    assert scene.screen_state.is_blind(later)
    assert wording.worker(scene, later) == "BLIND: no word from the worker for 11 s"
    scene.screen_state.worker_status(word(1, later))
    assert wording.worker(scene, later) == "worker 1 of 2 partitions, lag 0"
    scene.screen_state.worker_status(word(0, later, recovering=True))
    assert wording.worker(scene, later) == "worker 1 of 2 partitions, lag 0"


def test_the_most_urgent_comes_first_and_info_does_not_come() -> None:
    screen_state = ScreenState()
    raise_alerts(screen_state, "low", "high", "info", "medium", "high")
    screen_state.alert("id-2", value(number=2, revision=2, priority="high", status="acknowledged"))
    assert [one.alert_id for one in screen_state.ranked()] == ["id-5", "id-2", "id-4", "id-1"]
    assert screen_state.by_priority() == {Priority.HIGH: 2, Priority.MEDIUM: 1, Priority.LOW: 1, Priority.INFO: 1}
    assert next(iter(screen_state.by_priority())) is Priority.HIGH


def test_what_cannot_be_understood_is_counted() -> None:
    screen_state = ScreenState()
    screen_state.alert("id-1", b"{}")
    screen_state.transition(b"nonsense")
    screen_state.session("S1", b"{}")
    screen_state.worker_status(b"[]")
    assert screen_state.strange == 4
    assert not screen_state.open


def test_each_topic_finds_its_place() -> None:
    screen_state, told = ScreenState(), list[Alert]()

    def record(key: bytes, content: bytes | None) -> Record:
        return Record("t", 0, 0, 0, 0, key, content, None, 0, 0, ())

    take(screen_state, "alerts.active", record(b"id-1", value()), told.append)
    take(screen_state, "alerts.low-magnesium", record(b"P00001", value()), told.append)
    take(screen_state, "alerts.low-magnesium", record(b"P00001", value()), told.append)
    take(screen_state, "sessions.active", record(b"S1", seat(1, "01")), told.append)
    take(screen_state, "worker-status", record(b"0", word(0, NOW)), told.append)
    take(screen_state, "dead-letters", record(b"P00001", b"\xff"), told.append)
    assert len(told) == len(screen_state.open) == len(screen_state.seats) == screen_state.dead_letters == 1
    assert not screen_state.is_blind(NOW)


# -- what the worker's metrics say


def metrics(events: int, buckets: tuple[int, int, int], clock: float) -> str:
    lines = [f'dialysis_events_total{{topic="a",type="telemetry"}} {events}']
    lines += [f'dialysis_clock_timestamp_seconds{{partition="{n}"}} {clock - n * 1000}' for n in (0, 0, 2)]
    family = "dialysis_event_to_alert_seconds"
    lines += [f"# TYPE {family} histogram"]
    for bound, count in zip(("0.01", "0.03", "+Inf"), buckets, strict=True):
        lines += [f'{family}_bucket{{family="f",le="{bound}"}} {count}']
    return "\n".join(lines) + "\n"


def test_rate_and_latency_count_from_when_the_unit_is_live() -> None:
    gauges = Gauges()
    assert gauges.rate is None
    assert not gauges.has_caught_up(5000)
    gauges.take(metrics(50_000, (1, 1, 1), 5000), 10.0)
    assert gauges.has_caught_up(5004)
    assert not gauges.has_caught_up(5006)
    gauges.go_live()
    assert gauges.latency(0.5) is None
    gauges.take(metrics(50_040, (1, 5, 5), 5010), 20.0)
    assert gauges.rate == pytest.approx(4.0)
    assert gauges.alerts == 4
    assert gauges.latency(0.5) == pytest.approx(0.02)
    gauges.take(metrics(50_080, (1, 5, 105), 5020), 30.0)
    assert gauges.latency(0.99) == pytest.approx(0.03)


# -- the view


def rendered(scene: Scene, width: int, height: int, now: datetime = NOW) -> list[str]:
    console = Console(width=width, height=height, record=True, force_terminal=True, file=StringIO())
    console.print(draw(scene, width, height, now))
    return console.export_text().splitlines()


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (160, 50), (100, 36), (120, 46), (156, 34), (157, 60), (40, 10)]
)
@pytest.mark.parametrize("number", [0, 3, 300])
def test_the_view_fits_and_fills_the_terminal(scene: Scene, width: int, height: int, number: int) -> None:
    raise_alerts(scene.screen_state, *(["high", "medium", "low"] * number)[:number])
    lines = rendered(scene, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    # With a space: the folder in the last line may have any number in its name.
    assert not any(" 121" in line and line.endswith("…") for line in lines)
    if height >= 24:
        assert any("curl http://127.0.0.1:6066/metrics" in line for line in lines)
        assert sum(f" {chair:02d} " in line for line in lines[:20] for chair in (1, 24)) >= 2
    if number == 300 and height >= 24:
        assert any("300 open: 100 high !!!, 100 medium !!, 100 low !" in line for line in lines)
        assert any(line.startswith(" … and ") for line in lines)


def test_the_view_shows_where_and_what(scene: Scene) -> None:
    raise_alerts(scene.screen_state, "high")
    scene.screen_state.alert(
        "loop", value(number=9, patient_id=None, rule="aluminum_cluster", escalation=1, summary="2 patients")
    )
    text = "\n".join(rendered(scene, 80, 24))
    assert " 01 !!! 121   02     121 " in text
    assert "24 free" in text
    assert "19 in use" in text
    assert " !!! 01     low_magnesium       Magnesium 1.4 mg/dL, low (below …   4m active" in text
    assert " !!  loop-A aluminum_cluster    2 patients" in text
    assert "active +1" in text
    assert f"cat {scene.folder}"[:30] in text
    assert "P00001" in "\n".join(rendered(scene, 160, 50))


def test_the_view_says_that_it_is_blind_or_still_in_the_past(scene: Scene) -> None:
    for width in (80, 44):
        assert "BLIND: no word from the worker for 60 s" in rendered(scene, width, 24, NOW + timedelta(minutes=1))[0]
    scene.live = False
    scene.gauges.take(metrics(1, (0, 0, 0), (NOW - timedelta(hours=2)).timestamp()), 0.0)
    lines = rendered(scene, 80, 24)
    assert "past: 50%" in lines[0]
    assert "4 h of past come first ━━━━" in lines[1]


# -- plain lines and the summary


def test_plain_lines_leave_the_past_out(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain(scene)
    plain.transition(Alert.model_validate_json(value(at=(NOW - timedelta(hours=1)).isoformat())))
    assert not capsys.readouterr().out
    plain.transition(Alert.model_validate_json(value()))
    assert capsys.readouterr().out.endswith(
        " raised       medium 01     low_magnesium: Magnesium 1.4 mg/dL, low (below 1.7 mg/dL)\n"
    )
    for seconds in range(12):
        plain.show(NOW + timedelta(seconds=seconds))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert "worker ok" in said[0]
    assert "worker ok" in said[1]
    assert "BLIND" in said[2]


def test_the_summary_counts_by_rule_and_kind(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    raise_alerts(scene.screen_state, "high", "low")
    scene.screen_state.transition(value(revision=2, transition="resolved"))
    scene.screen_state.transition(value(number=3, rule="seizure"))
    assert [rule for rule, _ in kinds(scene.screen_state.counts)] == ["low_magnesium", "seizure"]
    summarize(scene, 60.0)
    said = capsys.readouterr().out
    assert "low_magnesium  2 raised, 1 resolved" in said
    assert "seizure        1 raised" in said
    assert "Transitions: 4; alerts: 2 open: 1 high, 1 low." in said


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (3 * 86400, "3d"), (9e8, "999d")]
)
def test_age(seconds: float, shown: str) -> None:
    assert wording.age(NOW, NOW + timedelta(seconds=seconds)) == shown


# -- the nurse, the commands, the programs


def test_the_nurse_answers_some_alerts_once_in_their_time() -> None:
    alerts = [Alert.model_validate_json(value(number=number)) for number in range(1, 51)]
    alerts.append(Alert.model_validate_json(value(number=99, patient_id=None)))
    nurse, answered = Nurse(1), dict[str, int]()
    for second in range(60):
        while found := nurse.due(alerts, float(second)):
            assert found.alert_id not in answered
            answered[found.alert_id] = second
    assert 15 < len(answered) < 45
    assert "id-99" not in answered
    assert all(20 <= second <= 40 for second in answered.values())
    assert json.loads(answer(alerts[0], NOW)) == {
        "type": "alert_response",
        "patient_id": "P00001",
        "at": "2026-11-23T07:30:00Z",
        "alert_id": "id-1",
        "by": "demo-nurse",
        "action": "acknowledge",
    }


@pytest.fixture
def kcat(tmp_path: Path) -> Path:
    """Stands for kcat: prints what it is told."""
    tool = tmp_path / "bin" / "kcat"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@"\ncat\n')
    tool.chmod(0o755)
    return tool.parent


def test_the_written_commands_are_what_a_shell_takes(scene: Scene, kcat: Path) -> None:
    hints.write(scene.settings, scene.folder, [scene.folder / "worker.log"], Alert.model_validate_json(value()))
    text = (scene.folder / hints.FILE).read_text()
    assert "dialysis.alerts.low-magnesium" in text
    assert "low-magnesium" in FAMILIES
    assert "# acknowledge the most urgent alert, low_magnesium of P00001" in text
    for command in (line for line in text.splitlines() if line.startswith("echo ")):
        done = subprocess.run(
            ["sh", "-c", command], env={"PATH": f"{kcat}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
        )
        called, event = done.stdout.splitlines()
        assert json.loads(event)["patient_id"] == called.split(" -k ")[1].split()[0]
        assert called.split(" -t ")[1].split()[0].removeprefix("dialysis.") in PATIENT_TOPICS
        assert datetime.fromisoformat(json.loads(event)["at"]).tzinfo
    code = text.split("<<'END'\n")[1].split("\nEND\n")[0]
    compile(code, "hint", "exec")


def test_settings_go_to_programs_as_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(brokers="127.0.0.1:4711", topic_prefix="x.", partitions=3, rules=tmp_path / "r.toml")
    for name, text in environment(settings).items():
        monkeypatch.setenv(name, text)
    assert Settings() == settings


def test_last_words_are_few_and_harmless(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old\n" * 10_000 + b"\x1b[31mred \xff\n")
    assert last_lines(log, 2) == ["old", "?[31mred \ufffd"]
