"""The command line. A command's modules are loaded when it runs, so that `--help` and `replay` stay quick."""
# ruff: noqa: PLC0415

import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

from streams.commands.output import printed
from streams.exit_status import WRONG_USE

if TYPE_CHECKING:
    from models.settings import Settings

NAME: Final = "dialysis-alerts"

# Tracebacks stay plain: pretty ones print local variables, and those may hold a patient's data.
app = typer.Typer(
    name=NAME,
    help="Turns lab results, dialysis machine events and clinical events on Kafka into alerts with a life cycle.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong use. Settings are environment variables, DIALYSIS_…",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
rules_app = typer.Typer(help="The rule catalogue with thresholds, sources and on/off state.")
dead_letters_app = typer.Typer(help="What could not be used, by reason; and publishing it again.")
board_app = typer.Typer(help="The unit screen: what hangs on the wall of a unit and lies on a nurse's phone.")
board_user_app = typer.Typer(help="Who may sign in to the unit screen.", no_args_is_help=True)
board_app.add_typer(board_user_app, name="user")
app.add_typer(board_app, name="board")
app.add_typer(rules_app, name="rules")
app.add_typer(dead_letters_app, name="dead-letters")

Scenario = Literal["quiet", "normal", "dense", "garbage", "catalogue"]
Role = Literal["viewer", "responder"]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]
Topic = Annotated[str | None, typer.Option(help="Only those from this topic, with or without the prefix.")]


def main() -> None:
    """Entry point of the script `dialysis-alerts`."""
    with printed():
        app(prog_name=NAME)


def _moment(text: str) -> datetime:
    """A time with an offset, as events have it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time such as 2026-11-23T07:30:00+01:00") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no offset, as 2026-11-23T07:30:00+01:00 has")
    return moment


def _settings() -> "Settings":
    from streams.commands.environment import EnvironmentVariablesError, read_settings

    try:
        return read_settings()
    except EnvironmentVariablesError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        _leave(WRONG_USE)


def _leave(status: int) -> NoReturn:
    raise typer.Exit(status)


def _version(wanted: bool) -> None:
    if wanted:
        print(version(NAME))
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself so long after the unit is live.")] = None,
    no_board: Annotated[bool, typer.Option("--no-board", help="Leave out the unit screen.")] = False,
) -> None:
    """Run everything on this machine: an embedded Kafka, a simulated unit, a worker, the unit screen."""
    settings = _settings()
    from streams.demo import run

    _leave(run(settings, seconds, board=not no_board))


@app.command()
def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port for clients; 0 picks a free one.")] = 9092,
    data: Annotated[Path | None, typer.Option(help="Keep the data in this folder; else DIALYSIS_DATA's.")] = None,
) -> None:
    """Run the embedded Kafka alone, until Ctrl-C."""
    settings = _settings()
    from streams.broker.command import run

    _leave(run(port, data or settings.data))


@app.command()
def worker() -> None:
    """Run a worker against DIALYSIS_BROKERS, until SIGTERM or Ctrl-C."""
    settings = _settings()
    from streams.worker.process import run

    _leave(run(settings))


@app.command()
def simulate(
    patients: Annotated[int, typer.Option(min=1, help="Patients of the unit; two take turns on a chair.")] = 48,
    rate: Annotated[float | None, typer.Option(help="About so many messages a second.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same unit and events.")] = 1,
    speed: Annotated[
        float, typer.Option(min=0, max=1e6, help="Simulated seconds a second; 0 is as fast as possible.")
    ] = 1.0,
    scenario: Annotated[Scenario, typer.Option(help="How much goes wrong.")] = "normal",
    start: Annotated[
        datetime | None, typer.Option(parser=_moment, metavar="TIME", help="When the unit goes live; else now.")
    ] = None,
    backfill_hours: Annotated[float, typer.Option(min=0, help="How much of the past is sent first.")] = 0.0,
    hours: Annotated[float | None, typer.Option(min=0, help="End after so many simulated hours.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="End after so many messages.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here in place of Kafka; - is stdout.")] = None,
) -> None:
    """Publish the events of a seeded virtual unit."""
    settings = _settings()
    from streams.simulator import command, planned

    chosen = planned.Scenario(scenario)
    _leave(
        command.run(
            settings,
            patients,
            rate,
            seed,
            speed,
            chosen,
            start=start,
            backfill_hours=backfill_hours,
            hours=hours,
            limit=limit,
            out=out,
        )
    )


@app.command()
def replay(
    file: Annotated[str, typer.Argument(help="Events as JSON lines; - is standard input.")],
    until: Annotated[
        datetime | None, typer.Option(parser=_moment, metavar="TIME", help="Run the clock on to this time.")
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Print the alarm load per rule instead.")] = False,
    compare: Annotated[
        Path | None, typer.Option(help="Another rule-settings file: its alarm load stands beside.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where a line was unusable.")] = False,
    rules: Annotated[Path | None, typer.Option(help="The rule-settings file; else DIALYSIS_RULES.")] = None,
) -> None:
    """Turn a file of events into alert transitions on standard output, without a broker."""
    settings = _settings()
    from streams.commands.replay import run

    _leave(run(file, until, summary, compare, strict, rules or settings.rules))


@app.command()
def topics(
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing, check the others.")] = False,
) -> None:
    """Print the topics with their settings, or make them."""
    settings = _settings()
    from streams.commands import topics as command

    _leave(command.create(settings) if create else command.show(settings))


@rules_app.callback(invoke_without_command=True)
def _rules(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        rules_list()


@rules_app.command("list")
def rules_list() -> None:
    """List the rules of this site."""
    settings = _settings()
    from streams.commands.rules import list_rules

    _leave(list_rules(settings.rules))


@rules_app.command("show")
def rules_show(name: Annotated[str, typer.Argument(help="A rule, such as low_magnesium.")]) -> None:
    """Show one rule: what it reads, its thresholds and their sources."""
    settings = _settings()
    from streams.commands.rules import show_rule

    _leave(show_rule(name, settings.rules))


@rules_app.command("check")
def rules_check(file: Annotated[Path, typer.Argument(help="A rule-settings file (TOML).")]) -> None:
    """Validate a site's rule settings."""
    from streams.commands.rules import check_rules

    _leave(check_rules(file))


@board_app.callback(invoke_without_command=True)
def _board(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Option(help="On loopback without a sign-in: who answers alerts; else everybody only looks.")
    ] = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    from streams.board.command import run

    _leave(run(settings, user))


@board_user_app.command("add")
def board_user_add(
    name: Annotated[str, typer.Argument(help="The name, as it stands with each answer.")],
    role: Annotated[Role, typer.Option(help="A viewer looks, a responder also answers.")] = "responder",
) -> None:
    """Add a user, or give one another password; asks for it, or reads a line of a pipe."""
    settings = _settings()
    from streams.board.command import user_add

    _leave(user_add(settings, name, role))


@board_app.command("token")
def board_token(
    name: Annotated[str, typer.Argument(help="The screen's name; an older token of it no longer holds.")] = "wall",
) -> None:
    """Make a viewer token for a wall screen's bookmark."""
    settings = _settings()
    from streams.board.command import token

    _leave(token(settings, name))


@dead_letters_app.callback(invoke_without_command=True)
def _dead_letters(context: typer.Context, reason: Reason = None, topic: Topic = None) -> None:
    if context.invoked_subcommand is not None:
        if reason or topic:
            raise typer.BadParameter(f"--reason and --topic go after `{context.invoked_subcommand}`")
        return
    settings = _settings()
    from streams.commands.dead_letters import list_dead_letters

    _leave(list_dead_letters(settings, reason, _full(settings, topic)))


@dead_letters_app.command()
def redrive(
    reason: Reason = None,
    topic: Topic = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Publish dead letters again after a fix, each once."""
    settings = _settings()
    from streams.commands.redrive import redrive as publish_again

    _leave(publish_again(settings, reason, _full(settings, topic), dry_run))


def _full(settings: "Settings", topic: str | None) -> str | None:
    """The full name of a topic that was given with or without the prefix."""
    if topic is None or topic.startswith(settings.topic_prefix):
        return topic
    return settings.topic(topic)


if __name__ == "__main__":
    main()
