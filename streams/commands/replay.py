"""`dialysis-alerts replay`: evaluate a file of events, and print its transitions or its alarm load."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from models.alerts import AlertRecord, Priority, Transition
from models.parsing import Rejected
from models.state import LONGEST_WINDOW
from models.text import printable
from streams.engine.left_out import OnceASource
from streams.engine.replay import Line, Replay, parse_line
from streams.engine.sender_clocks import latest_time
from streams.exit_status import DONE, FAILED, WRONG_USE
from streams.rules.catalogue import ALL_RULES, RuleSettings, RuleSettingsError, load_settings

_encode: Final = msgspec.json.Encoder().encode


@dataclass
class Load:
    """Alarm load of one replay: the alerts that a unit would have received."""

    raised: Counter[tuple[str, Priority]] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    open: dict[str, str] = field(default_factory=dict)

    def add(self, alert: AlertRecord) -> None:
        """Count a transition."""
        self.transitions[alert.rule] += 1
        if alert.transition is Transition.RAISED:
            self.raised[alert.rule, alert.priority] += 1
        if alert.transition is Transition.ESCALATED and alert.escalation:
            self.unanswered[alert.rule] += 1
        if alert.status.is_open:
            self.open[alert.alert_id] = alert.rule
        else:
            self.open.pop(alert.alert_id, None)


def run(
    file: str,
    until: datetime | None = None,
    summary: bool = False,
    compare: Path | None = None,
    strict: bool = False,
    rules: Path | None = None,
) -> int:
    """Replay a file of JSON lines (`-` is standard input); return the exit status.

    Args:
        file: path of the events.
        until: run the clock on to this moment after the last line.
        summary: print the alarm load per rule in place of the transitions.
        compare: another rule-settings file, whose alarm load is printed beside it; implies `summary`.
        strict: exit status 1 when a line was unusable.
        rules: the rule-settings file in force.
    """
    try:
        settings = load_settings(rules)
        others = [load_settings(compare)] if compare else []
    except RuleSettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    try:
        source: BinaryIO = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        print(f"{printable(file)}: cannot be read: {error.strerror}", file=sys.stderr)
        return WRONG_USE
    broken = Broken("<stdin>" if file == "-" else file)
    try:
        with source:
            if summary or compare:
                lines = list(broken.usable(source))
                print_loads([(load_of(each, lines, until)) for each in (settings, *others)], [rules, compare])
            else:
                _print_transitions(Replay(settings), broken.usable(source), until)
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return FAILED
    return FAILED if strict and broken.count else DONE


class UnreadableError(Exception):
    """The file cannot be read to its end; the message is one sentence."""


@dataclass
class Broken:
    """Reports unusable lines, and details that were left out, on standard error, and continues."""

    name: str
    count: int = 0
    #: The number of the line with the latest time so far, and that time.
    _latest: tuple[int, datetime] | None = None
    _told_ahead: bool = False
    _said: OnceASource = field(default_factory=OnceASource)

    def usable(self, source: Iterable[bytes]) -> Iterator[Line]:
        """Yield the usable lines; skip blank ones.

        Raises:
            UnreadableError: reading failed; the lines before have been yielded.
        """
        for number, raw in enumerate(self._lines(source), 1):
            if not raw.removeprefix(BOM_UTF8).strip():
                continue
            parsed = parse_line(raw)
            if isinstance(parsed, Rejected):
                self.count += 1
                print(f"{printable(self.name)}:{number}: {parsed.detail} ({parsed.reason})", file=sys.stderr)
            else:
                for sentence in self._said.news(self.name, parsed.record, parsed.left_out) if parsed.left_out else ():
                    print(f"{printable(self.name)}:{number}: {sentence}", file=sys.stderr)
                self._compare(number, parsed.received_at or latest_time(parsed.record))
                yield parsed

    def _lines(self, source: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from source
        except OSError as error:
            raise UnreadableError(f"{printable(self.name)}: cannot be read on: {error.strerror or error}") from None

    def _compare(self, number: int, moment: datetime) -> None:
        """Report once that the clock ran so far ahead that a later line is too old to raise an alert."""
        if self._latest is None or moment > self._latest[1]:
            self._latest = (number, moment)
            return
        line, latest = self._latest
        if not self._told_ahead and latest - moment > LONGEST_WINDOW:
            self._told_ahead = True
            print(
                f"{printable(self.name)}:{line}: its time, {latest.isoformat()}, lies {(latest - moment).days} days "
                f"ahead of line {number}: since then the clock stands there, and what is more than "
                f"{LONGEST_WINDOW.days} days older raises nothing; correct the one that is wrong",
                file=sys.stderr,
            )


def _print_transitions(replay: Replay, lines: Iterable[Line], until: datetime | None) -> None:
    write = sys.stdout.buffer.write
    for line in lines:
        for alert in replay.take(line):
            write(_encode(alert) + b"\n")
    if until is not None:
        for alert in replay.advance(until):
            write(_encode(alert) + b"\n")
    sys.stdout.buffer.flush()


def load_of(settings: RuleSettings, lines: Iterable[Line], until: datetime | None) -> Load:
    """Compute the alarm load of a replay under some settings."""
    load, replay = Load(), Replay(settings)
    for line in lines:
        for alert in replay.take(line):
            load.add(alert)
    if until is not None:
        for alert in replay.advance(until):
            load.add(alert)
    return load


def print_loads(loads: list[Load], names: list[Path | None]) -> None:
    """Print the alarm load per rule; several settings files have one row each, beneath one another."""
    from rich.console import Console  # noqa: PLC0415 (not needed, and slow, when transitions are printed)
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="Alarm load")
    table.add_column("rule", no_wrap=True)
    if len(loads) > 1:
        table.add_column("settings", overflow="fold")
    for column in ("high", "medium", "low", "info", "transitions", "unanswered", "open"):
        table.add_column(column, justify="right", no_wrap=True)
    transitions = [rule.name for rule in ALL_RULES if any(load.transitions[rule.name] for load in loads)]
    for rule in (*transitions, None):
        table.add_section()
        for index, load in enumerate(loads):
            settings = [str(names[index] or "default")] if len(loads) > 1 else []
            table.add_row("" if index else rule or "all", *settings, *_cells(load, rule))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cells(load: Load, rule: str | None) -> list[str]:
    raised = [
        sum(n for (name, priority), n in load.raised.items() if rule in (None, name) and priority is wanted)
        for wanted in reversed(Priority)
    ]
    counts = [
        sum(n for name, n in counter.items() if rule in (None, name))
        for counter in (load.transitions, load.unanswered, Counter(load.open.values()))
    ]
    return [str(number) for number in (*raised, *counts)]
