"""From chairs that sessions name to the places of a room: which session stands where on the screen. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.board.foreign_records import ShownSession
from streams.board.site_file import Room, Site

if TYPE_CHECKING:
    from streams.board.picture import ChairKey


@dataclass(frozen=True, slots=True)
class Place:
    """A chair as it is drawn: its name, its room (null where the site's file does not know it) and its unit."""

    chair: str
    room: str | None
    unit_id: str | None


class Seating:
    """The places of a site with the sessions on them."""

    def __init__(self, site: Site, seats: dict[ChairKey, ShownSession]) -> None:
        self.rooms: list[tuple[Room, list[tuple[Place, ShownSession | None]]]] = []
        #: Where the chairs are drawn on which somebody sits.
        self.seated: dict[ChairKey, Place] = {}
        left = dict(seats)
        claimed: set[ChairKey] = {
            (room.unit, chair) for room in site.rooms if room.unit is not None for chair in room.chairs
        }
        named = Counter(chair for room in site.rooms for chair in room.chairs)
        for room in site.rooms:
            drawn = []
            for chair in room.chairs:
                key = _key_for(room, chair, left, claimed, is_only=named[chair] == 1)
                session = left.pop(key, None) if key is not None else None
                place = Place(chair, room.name, room.unit or (session.unit_id if session else None))
                drawn.append((place, session))
                if key is not None and session is not None:
                    self.seated[key] = place
            self.rooms.append((room, drawn))
        #: Chairs that the site's file does not know.
        self.elsewhere: list[tuple[Place, ShownSession]] = []
        for key in sorted(left, key=lambda each: (each[0] or "", each[1])):
            place = Place(key[1], None, key[0])
            self.elsewhere.append((place, left[key]))
            self.seated[key] = place


def _key_for(
    room: Room,
    chair: str,
    seats: dict[ChairKey, ShownSession],
    claimed: set[ChairKey],
    *,
    is_only: bool,
) -> ChairKey | None:
    """Return the chair that sessions name and a room means.

    A room without a unit takes what no other room claims; a session without a unit sits on the only chair of its name.
    """
    if room.unit is not None:
        nameless = is_only and (None, chair) in seats and (room.unit, chair) not in seats
        return None if nameless else room.unit, chair
    found = [key for key in seats if key[1] == chair and key not in claimed]
    return min(found, key=lambda key: key[0] or "", default=None)
