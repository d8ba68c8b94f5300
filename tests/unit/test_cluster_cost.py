"""The cluster rule in one pass: what it finds is what the definition says, and a large loop costs little."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.records import UnitSignal
from models.state import MAX_SIGNALS
from streams.engine.factory import loop_partition
from streams.rules.catalogue import default_settings
from streams.rules.water_loop import AluminumClusterLimits, _cluster

T0 = datetime(2026, 11, 23, 8, tzinfo=UTC)


def signal(name: str, patient: str, at: datetime, last_at: datetime | None = None) -> UnitSignal:
    return UnitSignal(
        at=at,
        last_at=last_at,
        known_at=at,
        water_loop_id="L",
        patient_id=patient,
        alert_id=name,
        revision=1,
        sequence=1,
        rule="aluminum_level",
        retracted=False,
    )


def as_defined(standing: list[UnitSignal], limits: AluminumClusterLimits) -> list[UnitSignal]:
    """The definition, word by word: each window that ends at a moment, and who lies in it. Quadratic."""
    window = timedelta(days=limits.days)
    members: dict[str, UnitSignal] = {}
    moments = [(moment, one) for one in standing for moment in (one.at, one.last_at or one.at)]
    for end, _ in moments:
        inside = [one for moment, one in moments if end - window < moment <= end]
        if len({one.patient_id for one in inside}) >= limits.patients:
            members |= {one.alert_id: one for one in inside}
    return sorted(members.values(), key=lambda one: (one.at, one.alert_id))


@st.composite
def loops(draw: st.DrawFn) -> list[UnitSignal]:
    """Few patients, and moments on a grid that meets the window's ends exactly; some end before they began."""
    found = []
    for number in range(draw(st.integers(0, 14))):
        at = T0 + timedelta(days=draw(st.integers(0, 12)))
        last = draw(st.none() | st.integers(-2, 12))
        patient = f"p{draw(st.integers(0, 4))}"
        found.append(signal(f"x{number}", patient, at, None if last is None else at + timedelta(days=last)))
    return sorted(found, key=lambda one: (one.at, one.alert_id))


@given(loops(), st.integers(2, 4), st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0]))
def test_one_pass_finds_what_the_definition_says(standing: list[UnitSignal], patients: int, days: float) -> None:
    limits = AluminumClusterLimits(patients=patients, days=days)
    assert _cluster(standing, limits) == as_defined(standing, limits)


def test_one_more_signal_of_a_full_loop_costs_little() -> None:
    """It took 139 ms once; 10 ms leave room for a busy machine."""
    loop = loop_partition(default_settings(), timedelta(minutes=15))
    loop.now = T0 + timedelta(days=1)
    cost = []
    for number in range(MAX_SIGNALS + 20):
        one = signal(f"x{number}", f"q{number}", T0 + timedelta(seconds=number))
        started = time.perf_counter()
        _, _, told = loop.take("L", one, loop.now)
        cost.append(time.perf_counter() - started)
    assert told[0].summary.startswith(f"{MAX_SIGNALS} patients")
    assert min(cost[-20:]) < 0.010
