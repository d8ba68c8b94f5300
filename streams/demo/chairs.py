"""Draw the unit's chairs as a grid, coloured by the highest open priority of the patient on each."""

from typing import Final, NamedTuple

from rich.text import Text

from models.alerts import Alert, Priority, Status
from streams.demo.scene import Scene
from streams.demo.screen_state import Seat
from streams.demo.wording import MARKS
from streams.simulator.timetable import CHAIRS_PER_UNIT

#: IEC 60601-1-8: high red, medium yellow, low cyan (or yellow).
COLOURS: Final = {
    Priority.HIGH: "red",
    Priority.MEDIUM: "yellow",
    Priority.LOW: "cyan",
    Priority.INFO: "default",
}
#: Styles of unanswered alerts; an answered one keeps its colour, without the alarm light.
_LIT: Final = {
    Priority.HIGH: "bold white on red",
    Priority.MEDIUM: "bold black on yellow",
    Priority.LOW: "bold black on cyan",
}
_FREE: Final = "dim"
_CALM: Final = "green"
#: Cells of this width have room for patient or pressure.
_ROOMY: Final = 13
_HALF: Final = 6


class _Cell(NamedTuple):
    lines: tuple[str, ...]
    style: str


def style(alert: Alert) -> str:
    """Return the style of an alert: lit while nobody has answered."""
    return _LIT[alert.priority] if alert.status is Status.ACTIVE else COLOURS[alert.priority]


def columns(width: int) -> int:
    """Return the number of chairs in a row; half the unit is one water loop, so rows do not mix loops."""
    return 2 * _HALF if width >= 2 * _HALF * _ROOMY else _HALF


def grid(scene: Scene, width: int, *, tall: bool) -> list[Text]:
    """Draw the chairs of the unit.

    Args:
        scene: What to show.
        width: Of the terminal.
        tall: Three lines a chair in place of one.
    """
    seats, alerts = scene.screen_state.chairs(), scene.screen_state.worst_by_patient()
    number = columns(width)
    wide = (width - 1) // number - 1
    cells = []
    for index in range(CHAIRS_PER_UNIT):
        chair = f"{index + 1:02d}"
        seat = seats.get(chair)
        cells.append(_cell(chair, seat, alerts.get(seat.patient_id) if seat else None, tall=tall))
    lines = []
    for first in range(0, CHAIRS_PER_UNIT, number):
        row = cells[first : first + number]
        for line in range(3 if tall else 1):
            text = Text(" ")
            for cell in row:
                text.append(cell.lines[line][:wide].ljust(wide), cell.style)
                text.append(" ")
            lines.append(text)
        if tall and number == _HALF and first + number < CHAIRS_PER_UNIT:
            lines.append(Text())
    return lines


def _cell(chair: str, seat: Seat | None, alert: Alert | None, *, tall: bool) -> _Cell:
    if seat is None:
        return _Cell((f" {chair}", "  free", "") if tall else (f" {chair} free",), _FREE)
    mark = MARKS[alert.priority] if alert else ""
    colour = style(alert) if alert else _CALM
    pressure = "" if seat.systolic_mmhg is None else f"{seat.systolic_mmhg:.0f}"
    if tall:
        minutes = int((seat.at - seat.since).total_seconds() // 60)
        head, foot = f" {chair} {mark:3}", f" {pressure:>3}  {minutes // 60}h{minutes % 60:02d}"
        return _Cell((head, f" {seat.patient_id}", foot), colour)
    return _Cell((f" {chair} {mark:3} {pressure:>3}",), colour)
