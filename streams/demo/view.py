"""The live view: header, chairs, open alerts, last transitions, hints. Built line by line, so that it fits."""

from datetime import datetime
from typing import Final

from rich.console import Group
from rich.text import Text

from models.alerts import Alert, Priority, Status, Transition
from streams.demo import hints, wording
from streams.demo.chairs import COLOURS, columns, grid, style
from streams.demo.scene import Scene
from streams.simulator.timetable import CHAIRS_PER_UNIT

#: From this height on the chairs have three lines each (where they stand in two rows, from 12 lines less on), and from
#: this width on there is room for priorities as words and for the longer commands.
_TALL: Final = 46
_WIDE: Final = 100
_TRANSITIONS: Final = 8
_OVER: Final = {Transition.RESOLVED: "green", Transition.WITHDRAWN: "green", Transition.EXPIRED: "green"}


def draw(scene: Scene, width: int, height: int, now: datetime) -> Group:
    """Draw the whole view as lines, at most `height` of them and none longer than `width`."""
    tall = height >= (_TALL if columns(width) < CHAIRS_PER_UNIT // 2 else _TALL - 12)
    top = [*_header(scene, width, now), *_chairs(scene, width, tall=tall)]
    footer = _footer(scene, width, tall=tall)
    # Two titles; the alerts get the most of the rest.
    room = height - len(top) - len(footer) - 2
    kept = min(_TRANSITIONS, max(1, room // 3))
    alerts = _alerts(scene, width, max(1, room - kept), now)
    transitions = _transitions(scene, width, kept)
    lines = [*top, *alerts, *transitions, *footer][:height]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


def _header(scene: Scene, width: int, now: datetime) -> list[Text]:
    blind = wording.blindness(scene, now)
    left = f" dialysis-alerts demo  {wording.clock(now)}"
    right = f"{wording.worker(scene, now)} "
    if len(left) + len(right) > width:
        left = ""
    colour = "bold white on red" if blind else "bold reverse"
    first = Text(left + " " * max(1, width - len(left) - len(right)) + right, style=colour)
    if not scene.live:
        done = round(scene.progress() * (width - 24))
        hours = (scene.start - scene.begin).total_seconds() / 3600
        second = Text(f" {hours:g} h of past come first ")
        second.append("━" * max(0, done), "green")
        return [first, second]
    second = Text(f" {wording.rate(scene)}   {wording.latency(scene)}")
    return [first, second]


def _title(width: int, title: str) -> Text:
    return Text(f"── {title} " + "─" * max(0, width - len(title) - 4), style="bold blue")


def _chairs(scene: Scene, width: int, *, tall: bool) -> list[Text]:
    busy = len(scene.screen_state.chairs())
    legend = "number, highest open alert, systolic mm[Hg]" + (", patient, time" if tall else "")
    return [_title(width, f"Chairs: {busy} in use  ({legend})"), *grid(scene, width, tall=tall)]


def _alerts(scene: Scene, width: int, room: int, now: datetime) -> list[Text]:
    """List the most urgent alerts, padded to `room` lines so that the rest of the view does not move."""
    ranked = scene.screen_state.ranked()
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    chairs = wording.chairs_by_patient(scene)
    lines = [_title(width, f"Alerts: {wording.open_alerts(scene, marked=True)}")]
    lines += [_alert(alert, chairs, width, now) for alert in shown]
    if len(shown) < len(ranked):
        rest = ranked[len(shown) :]
        counts = {p: sum(alert.priority is p for alert in rest) for p in reversed(Priority)}
        named = ", ".join(f"{number} {priority}" for priority, number in counts.items() if number)
        lines.append(Text(f" … and {named}", style="dim"))
    return lines + [Text()] * (room + 1 - len(lines))


def _alert(alert: Alert, chairs: dict[str, str], width: int, now: datetime) -> Text:
    rule_width = 19 if width < _WIDE else 29
    line = Text(" ")
    line.append(f"{wording.MARKS[alert.priority]:3}", style(alert))
    colour = COLOURS[alert.priority]
    line.append(f" {alert.priority:6} " if width >= _WIDE else " ", colour)
    line.append(f"{wording.place(alert, chairs):6.6} ")
    line.append(f"{_cut(alert.rule, rule_width):{rule_width}} ", colour)
    right = f" {wording.age(alert.onset_at, now):>4} {wording.state(alert):9.9}"
    room = max(0, width - line.cell_len - len(right))
    summary = Text(alert.summary)
    summary.truncate(room, overflow="ellipsis", pad=True)
    line.append_text(summary)
    line.append(right, "" if alert.status is Status.ACTIVE else "green")
    return line


def _transitions(scene: Scene, width: int, number: int) -> list[Text]:
    chairs = wording.chairs_by_patient(scene)
    lines = [_title(width, f"Last transitions: {scene.screen_state.counts.total()} in all")]
    for alert in [*scene.screen_state.latest][: -number - 1 : -1]:
        colour = _OVER.get(alert.transition, COLOURS[alert.priority])
        line = Text(f" {wording.clock(alert.at)} ")
        line.append(f"{alert.transition:13}", colour)
        line.append(f"{wording.place(alert, chairs):6.6} {alert.rule}: {alert.summary}")
        lines.append(line)
    return lines + [Text()] * (number + 1 - len(lines))


def _footer(scene: Scene, width: int, *, tall: bool) -> list[Text]:
    shown = hints.long_hints if tall and width >= _WIDE else hints.short_hints
    screen = [hints.Hint("the unit screen, in a browser", scene.board)] if scene.board else []
    lines = (*screen, *shown(scene.settings, scene.folder))
    return [
        _title(width, "Next, in another terminal (Ctrl-C here stops everything)"),
        *(Text(f" {hint.purpose}: ").append(hint.command, "bold") for hint in lines),
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
