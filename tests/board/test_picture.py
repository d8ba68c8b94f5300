"""What a screen shows of the records it reads: places, revisions, garbage, changes."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from streams.board import picture
from streams.board.site_file import Room, Site
from streams.board.tiles import Filters
from tests.board.records import NOW, Unit, alert_value, session_value


def ids(alerts: list[dict[str, Any]]) -> list[str]:
    return [alert["alert_id"] for alert in alerts]


def test_a_tile_has_patient_times_readings_and_worst_alert() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a", priority="medium", status="acknowledged", transition="acknowledged", reason="acknowledged")
    unit.alert("b")
    unit.alert("c", priority="info")
    tile = unit.tile()
    assert (tile["patient_id"], tile["room"], tile["unit_id"], tile["machine_id"]) == ("p1", "Room 1", "U1", "M1")
    assert (tile["elapsed_minutes"], tile["planned_minutes"], tile["systolic_mmhg"]) == (30, 240, 118.0)
    assert tile["planned_end"] == (NOW + timedelta(minutes=210)).isoformat()
    assert (tile["priority"], tile["unacknowledged"]) == ("high", 1)
    assert ids(tile["alerts"]) == ["b", "a"]
    assert tile["alerts"][0]["title"] == "Magnesium below the limit of its unit"
    assert unit.tile("03")["patient_id"] is None


def test_no_alert_is_lost_for_want_of_a_chair() -> None:
    unit = Unit()
    unit.session("s1", "p1")
    unit.session("s2", "p2", chair="77")
    unit.session("s3", "p3", since=(NOW - timedelta(hours=9)).isoformat())  # an older one on chair 01
    for number in (1, 2, 3, 4):
        unit.alert(f"a{number}", patient_id=f"p{number}")
    unit.alert("loop", patient_id=None, family="unit", rule="aluminum_cluster")
    room = unit.room()
    assert ids(unit.tile("01")["alerts"]) == ["a1"]
    assert [(tile["chair"], ids(tile["alerts"])) for tile in room["elsewhere"]] == [("77", ["a2"])]
    assert sorted(ids(room["without_chair"])) == ["a3", "a4"]
    assert ids(room["unit_alerts"]) == ["loop"]
    assert room["unit_alerts"][0]["water_loop"] == "Ring A"


def test_a_room_is_drawn_once_for_all_who_ask_at_once_and_anew_when_it_would_differ() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a")

    def drawn(**words: str) -> Any:
        return unit.board.room(Filters(words))["rooms"]

    first = drawn()
    assert drawn() is first
    assert drawn(priority="low") is not first
    assert drawn(priority="low")[0]["chairs"][0]["alerts"] == []
    assert drawn() is first
    unit.alert("b")
    assert ids(drawn()[0]["chairs"][0]["alerts"]) == ["a", "b"]
    second = drawn()
    unit.later(60)
    assert drawn() is not second
    assert drawn()[0]["chairs"][0]["elapsed_minutes"] == 31
    unit.board.start_over()
    unit.board.finish_over()
    assert [chair["alerts"] for chair in drawn()[0]["chairs"]] == [[], []]
    for number in range(50):
        drawn(priority=str(number))
    assert len(unit.board._drawn) <= 8


def test_filters_choose_rooms_and_alerts() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a")
    unit.alert("b", priority="low", family="session")
    assert [room["name"] for room in unit.room(room="Room 2")["rooms"]] == ["Room 2"]
    assert unit.room(unit="U9")["rooms"] == []
    found = unit.room(priority="low,medium")["rooms"][0]["chairs"][0]
    assert (ids(found["alerts"]), found["priority"]) == (["b"], "low")
    assert ids(unit.room(family="low-magnesium")["rooms"][0]["chairs"][0]["alerts"]) == ["a"]


def test_an_alert_never_goes_back_in_revision() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a", 3, summary="third")
    unit.alert("a", 2, summary="second")
    unit.alert("a", 3, summary="again")
    assert unit.tile()["alerts"][0]["summary"] == "third"
    unit.board.take("alerts.active", b"a", None)
    unit.alert("a", 2)
    assert unit.tile()["alerts"] == []
    unit.alert("a", 3, summary="the owner's correction of a late tombstone")
    assert unit.tile()["alerts"][0]["revision"] == 3


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, alert_value("a"), "no_key"),
        (b"a", b"", "not_json"),
        (b"a", b"\xff\xfe", "not_json"),
        (b"a", b"[1, 2]", "bad_field"),
        (b"a", b'{"hello": "world"}', "bad_field"),
        (b"a", alert_value("a").replace(b'"revision": 1', b'"revision": "7"'), "bad_field"),
        (b"a", alert_value("a", 0), "bad_field"),
        (b"a", alert_value("a", priority="urgent"), "bad_field"),
        (b"a", alert_value("a", at="2026-11-23T08:00:00"), "bad_field"),
        (b"a", alert_value("a", chair="x" * 5000), "bad_field"),
        (b"a", alert_value("a", summary="x" * 1_000_000), "too_large"),
        (b"b", alert_value("a"), "other_key"),
        (b"a", b'{"x": ' + b"[" * 100_000, "not_json"),
    ],
)
def test_garbage_is_counted_and_hinted_at(key: bytes | None, value: bytes, reason: str) -> None:
    unit = Unit()
    unit.session()
    unit.board.take("alerts.active", key, value)
    assert unit.unreadable("alerts.active", reason) == 1
    room = unit.room()
    assert room["hint"] == {"unreadable": 1}
    assert unit.tile()["alerts"] == room["without_chair"] == []


def test_garbage_on_the_other_topics_is_counted_as_well() -> None:
    unit = Unit()
    for topic in ("sessions.active", "worker-status", "alerts.cramp"):
        unit.board.take(topic, b"k", b"{}")
    unit.board.take("clinical-events", b"p1", b'{"type": "alert_response"}')
    unit.board.take("clinical-events", b"p1", b'{"type": "weight", "kg": "heavy"}')  # none of our business
    unit.board.take("sessions.active", b"other", session_value())
    assert unit.board.unreadable == 5


def test_texts_of_others_are_one_line_without_controls() -> None:
    unit = Unit()
    script = "<script>alert(1)</script>"
    unit.session(chair=script)
    unit.alert("a", summary="red\x1b[31m\nnext\u202eline", guidance=[{"text": "a\u2066b", "basis": "c"}])
    tile = unit.tile(script)
    assert tile["alerts"][0]["summary"] == "red\ufffd[31m next\ufffdline"
    full = unit.board.alert("a")
    assert full is not None
    assert full["guidance"] == [{"text": "a\ufffdb", "basis": "c"}]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_ALERTS", 3)
    unit = Unit()
    for number in range(5):
        unit.alert(f"a{number}")
    assert len(unit.board.picture.alerts) == 3
    assert unit.unreadable("alerts.active", "full") == 2


def changes(unit: Unit, after: str) -> list[dict[str, Any]]:
    unit.board.flush()
    found = unit.board.feed.after(after)
    assert found is not None
    return [json.loads(data) for _, data in found]


def test_changes_are_one_event_and_name_what_moved() -> None:
    unit = Unit()
    before = unit.board.feed.event_id
    unit.session()
    unit.alert("a")
    unit.alert("b")
    (event,) = changes(unit, before)
    assert [tile["chair"] for tile in event["tiles"]] == ["01"]
    assert ids(event["alerts"]) == ["a", "b"]
    assert {alert["place"] for alert in event["alerts"]} == {"chair"}

    before = unit.board.feed.event_id
    unit.board.take("sessions.active", b"s1", None)
    unit.board.take("alerts.active", b"b", None)
    (event,) = changes(unit, before)
    assert [(tile["chair"], tile["patient_id"]) for tile in event["tiles"]] == [("01", None)]
    assert (ids(event["alerts"]), event["gone"]) == (["a"], ["b"])
    assert event["alerts"][0]["place"] == "without_chair"
    assert changes(unit, unit.board.feed.event_id) == []


def _drawn(tiles: list[dict[str, Any]], rooms_of_units: bool) -> dict[Any, Any]:
    """Who sits where, by what tells tiles apart on a page."""
    found = {}
    for tile in tiles:
        key = (tile["room"], tile["chair"], tile["unit_id"] if rooms_of_units or tile["room"] is None else None)
        found[key] = (tile["patient_id"], tuple(ids(tile["alerts"])))
    return found


@pytest.mark.parametrize("units", [(None,), ("U1",), ("U1", "U2")])
def test_changes_lead_to_the_room_that_a_reload_shows(units: tuple[str | None, ...]) -> None:
    site = Site("UTC", tuple(Room("Room 1", unit, ("c1", "c2")) for unit in units))
    unit, rooms_of_units = Unit(site), units != (None,)
    for number in range(4):
        unit.alert(f"a{number}", patient_id=f"p{number}")
    page: dict[Any, Any] = {}
    choose = random.Random(7)
    for _ in range(400):
        before = unit.board.feed.event_id
        for _ in range(choose.randint(1, 2)):
            number = choose.randrange(4)
            if choose.random() < 0.4:
                unit.board.take("sessions.active", f"s{number}".encode(), None)
            else:
                where = {"chair": choose.choice(["c1", "c2", "c9"]), "unit_id": choose.choice(["U1", "U2", None])}
                unit.session(f"s{number}", f"p{number}", **where)
        for event in changes(unit, before):
            page |= _drawn(event["tiles"], rooms_of_units)
        room = unit.room()
        tiles = [tile for each in room["rooms"] for tile in each["chairs"]] + room["elsewhere"]
        taken = {key: who for key, who in _drawn(tiles, rooms_of_units).items() if who[0]}
        assert {key: who for key, who in page.items() if who[0]} == taken


def test_a_reading_from_the_beginning_replaces_the_picture_at_once() -> None:
    unit = Unit()
    unit.session()
    unit.alert("a")
    unit.alert("b")
    before = unit.board.feed.event_id
    unit.board.start_over()
    unit.alert("b")
    assert ids(unit.tile()["alerts"]) == ["a", "b"]
    unit.session()
    unit.board.finish_over()
    assert ids(unit.tile()["alerts"]) == ["b"]
    assert unit.board.feed.after(before) is None
