"""The site's file: its rooms with their chairs in order, its water loops and its time zone.

zone = "Europe/Berlin"

[[rooms]]
name = "Room 1"
unit = "U1"
chairs = ["01", "02", "03"]

[[water_loops]]
id = "U1-A"
name = "Ring A"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.text import printable
from streams.rules.settings_file import SettingsFileError, read_tables

#: Bounds of a site: a screen that draws more is no screen.
_MOST_ROOMS: Final = 200
_MOST_CHAIRS: Final = 2000
_MOST_LOOPS: Final = 200
_LONGEST: Final = 200
_KEYS: Final = frozenset({"zone", "rooms", "water_loops"})
_ROOM_KEYS: Final = frozenset({"name", "unit", "chairs"})
_LOOP_KEYS: Final = frozenset({"id", "name"})


class SiteFileError(Exception):
    """The file cannot be used; `problems` holds one sentence each, with the key and the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Room:
    """A room: its chairs as they stand. Without a unit its chairs belong to whatever unit names them."""

    name: str
    unit: str | None
    chairs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """What the site's file says; without a file no room is known and times are in UTC."""

    zone: str = "UTC"
    rooms: tuple[Room, ...] = ()
    #: Names of water loops by id.
    water_loops: dict[str, str] = field(default_factory=dict)


def read_site(path: Path | None) -> Site:
    """Read the site's file; None gives a site without rooms.

    Raises:
        SiteFileError: It cannot be used.
    """
    if path is None:
        return Site()
    try:
        tables = read_tables(path)
    except SettingsFileError as error:
        raise SiteFileError([str(error)]) from None
    problems: list[str] = []
    _unknown(tables, _KEYS, "", problems)
    site = Site(_zone(tables, problems), _rooms(tables, problems), _water_loops(tables, problems))
    if problems:
        raise SiteFileError(problems)
    return site


def _unknown(table: dict[str, Any], known: frozenset[str], place: str, problems: list[str]) -> None:
    problems += [
        f"{place}{printable(key)[:40]} is no key of this file: use one of {', '.join(sorted(known))}"
        for key in table
        if key not in known
    ]


def _zone(tables: dict[str, Any], problems: list[str]) -> str:
    zone = tables.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        problems.append('zone is no IANA time zone: write one such as zone = "Europe/Berlin"')
        return "UTC"
    return str(zone)


def _rooms(tables: dict[str, Any], problems: list[str]) -> tuple[Room, ...]:
    found: list[Room] = []
    seen: dict[tuple[str | None, str], str] = {}
    for number, table in enumerate(_tables_of(tables, "rooms", _MOST_ROOMS, problems), 1):
        place = f"rooms[{number}]."
        _unknown(table, _ROOM_KEYS, place, problems)
        name = _word(table, "name", place, problems)
        unit = _word(table, "unit", place, problems) if "unit" in table else None
        chairs = _chairs(table, place, problems)
        for chair in chairs:
            if (unit, chair) in seen:
                problems.append(f"{place}chairs names {chair!r} again, after {seen[unit, chair]}: name a chair once")
            seen[unit, chair] = f"{place}chairs"
        found.append(Room(name, unit, chairs))
    if len(seen) > _MOST_CHAIRS:
        problems.append(f"rooms have {len(seen)} chairs, at most {_MOST_CHAIRS} fit: make a file for each unit")
    return tuple(found)


def _chairs(table: dict[str, Any], place: str, problems: list[str]) -> tuple[str, ...]:
    chairs = table.get("chairs")
    if not isinstance(chairs, list) or not chairs or not all(map(_is_word, chairs)):
        problems.append(f'{place}chairs is no list of names: write chairs = ["01", "02"], as the machines name them')
        return ()
    return tuple(chairs)


def _water_loops(tables: dict[str, Any], problems: list[str]) -> dict[str, str]:
    found = {}
    for number, table in enumerate(_tables_of(tables, "water_loops", _MOST_LOOPS, problems), 1):
        place = f"water_loops[{number}]."
        _unknown(table, _LOOP_KEYS, place, problems)
        found[_word(table, "id", place, problems)] = _word(table, "name", place, problems)
    return found


def _tables_of(tables: dict[str, Any], key: str, most: int, problems: list[str]) -> list[dict[str, Any]]:
    found = tables.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        problems.append(f"{key} is no list of tables: begin each with [[{key}]]")
        return []
    if len(found) > most:
        problems.append(f"{key} has {len(found)} entries, at most {most} fit: make a file for each unit")
    return found[:most]


def _word(table: dict[str, Any], key: str, place: str, problems: list[str]) -> str:
    value = table.get(key)
    if isinstance(value, str) and _is_word(value):
        return value
    problems.append(f'{place}{key} is no name: write {key} = "…", one line of 1 to {_LONGEST} characters')
    return ""


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() and bool(value.strip())
