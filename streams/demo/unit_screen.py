"""The demo's unit screen: its own process, with a site file that knows the simulated unit's chairs."""

from pathlib import Path
from typing import Final

from models.settings import Settings
from streams.demo.programs import Program
from streams.simulator.timetable import CHAIRS_PER_UNIT

#: Who answers alerts on the demo's screen.
USER: Final = "me"
#: The unit has two rooms; each is one water loop.
_CHAIRS_PER_ROOM: Final = CHAIRS_PER_UNIT // 2


def address(settings: Settings) -> str:
    """Return the screen's address for a browser."""
    return f"http://{settings.board_http}/"


def start(settings: Settings, folder: Path) -> Program:
    """Start the screen: it answers before Kafka does, and says until then that it is blind."""
    site = settings.board_site and settings.board_site.absolute()
    if site is None:
        site = folder / "site.toml"
        site.write_text(_site(), encoding="utf-8")
    users = settings.board_users and settings.board_users.absolute()
    # Where the surroundings ask for a sign-in, people sign in here as well.
    arguments = ("board",) if users or settings.board_proxies else ("board", "--user", USER)
    ours = {"board_site": site, "board_users": users}
    return Program("unit screen", arguments, settings.model_copy(update=ours), folder)


def _site() -> str:
    lines = ['zone = "UTC"']
    for number in range(2):
        first = number * _CHAIRS_PER_ROOM
        chairs = ", ".join(f'"{chair:02d}"' for chair in range(first + 1, first + _CHAIRS_PER_ROOM + 1))
        lines += ["", "[[rooms]]", f'name = "Room {number + 1}"', 'unit = "U1"', f"chairs = [{chairs}]"]
    return "\n".join(lines) + "\n"
