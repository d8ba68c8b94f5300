"""The summary that the demo prints at its end."""

from streams.commands.console import print_table, say
from streams.demo import wording
from streams.demo.scene import Scene
from streams.demo.screen_state import kinds


def summarize(scene: Scene, seconds: float) -> None:
    """Print the results; `seconds` is how long the unit was live."""
    screen_state, gauges = scene.screen_state, scene.gauges
    rows = [
        (rule, ", ".join(f"{number} {kind}" for kind, number in found.items()))
        for rule, found in kinds(screen_state.counts)
    ]
    print_table("Transitions by rule and kind", ("rule", "transitions"), rows)
    say("")
    say(f"Live for {seconds:.0f} s after {(scene.start - scene.begin).total_seconds() / 3600:g} h of simulated past.")
    say(f"Transitions: {screen_state.counts.total()}; alerts: {wording.open_alerts(scene)}.")
    say(f"Latency: {wording.latency(scene)}.")
    say(f"Events: {gauges.events:,.0f} taken; dead letters: {screen_state.dead_letters}.")
    if screen_state.strange:
        say(f"{screen_state.strange} records of the worker could not be understood.")
