"""What a patient is on: names of drugs, orders folded from their steps, phases of a treatment, days of the site."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import msgspec
import pytest

from models.drugs import Drug, drugs_of
from models.records import Medication
from models.state import PatientState
from streams.engine.windows import MEDICATIONS
from streams.rules.api import View
from streams.rules.catalogue import RuleSettingsError, parse_settings
from streams.rules.facts.days import day_of, next_day, start_of
from streams.rules.facts.orders import Order, folded
from streams.rules.facts.places import Phase, place_of
from tests.unit.timeline import Unit, moment, stamp

D = Drug


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Baclofen", {D.BACLOFEN}),
        ("baclofen 10 mg tablet", {D.BACLOFEN}),
        ("Magnesium Sulfate 2 g in 50 mL", {D.MAGNESIUM}),
        ("magnesium sulphate", {D.MAGNESIUM}),
        ("calcium citrate", {D.CALCIUM, D.CITRATE}),
        ("Calcium Carbonate", {D.CALCIUM_BINDER}),
        ("co-magaldrox", {D.ALUMINUM, D.MAGNESIUM}),
        ("sucralfate 1 g", {D.ALUMINUM}),
        ("sodium chloride 23.4 %", {D.HYPERTONIC_SALINE}),
        ("3% saline", {D.HYPERTONIC_SALINE}),
        ("sodium chloride 0.9 %", set()),
        ("alpha-tocopherol 400 IU capsule", {D.VITAMIN_E}),
        ("heparin", set()),
        ("insulin glargine 100 units/mL", set()),
        ("no such drug", None),
    ],
)
def test_names_of_drugs(name: str, expected: set[Drug] | None) -> None:
    assert drugs_of(name) == expected


def step(action: str, at: str, **fields: float) -> Medication:
    made = {"patient_id": "p1", "at": moment(at), "order_id": "o1", "drug": "baclofen", "action": action, **fields}
    return msgspec.convert(made, Medication)


def shape(order: Order) -> tuple[object, ...]:
    regimens = [(regimen.at, regimen.daily_mg) for regimen in order.regimens]
    return order.order_id, order.since, regimens, len(order.given), order.stands, order.was_taken


def test_any_order_of_the_steps_folds_to_the_same() -> None:
    steps = [
        step("ordered", "08:00", dose_mg=5, doses_per_day=3),
        step("changed", "d2 08:00", dose_mg=10),
        step("administered", "d2 12:00"),
        step("held", "d3 08:00"),
        step("changed", "d3 12:00", doses_per_day=1),
        step("stopped", "d4 08:00"),
    ]
    for some in permutations(steps):
        (order,) = folded(some)
        assert shape(order) == (
            "o1",
            moment("08:00"),
            [(moment("08:00"), 15), (moment("d2 08:00"), 30), (moment("d3 12:00"), 10)],
            1,
            False,
            True,
        )
        assert order.dose_mg_of(steps[2]) == 10
        assert order.regimen_at(moment("d4 08:00")) is None


def test_an_id_that_is_used_again_is_another_order() -> None:
    first = [step("ordered", "08:00", dose_mg=5), step("stopped", "09:00")]
    again = [step("ordered", "d2 08:00", dose_mg=10)]
    assert [order.stands for order in folded([*again, *first])] == [False, True]


def test_an_order_that_was_cancelled_was_not_taken() -> None:
    (order,) = folded([step("ordered", "08:00"), step("cancelled", "08:05")])
    assert not order.was_taken
    (order,) = folded([step("ordered", "08:00"), step("administered", "08:02"), step("cancelled", "08:05")])
    assert order.was_taken


def test_doses_that_no_rule_reads_are_not_kept() -> None:
    unit = Unit()
    for at, drug in (("08:00", "heparin"), ("08:01", "baclofen"), ("08:02", "zzz"), ("08:03", "zzz")):
        unit.send("medication", at, order_id=drug, drug=drug, action="administered")
    state = unit.replay._patients.states["p1"]
    assert [(held.drug, held.at) for held in MEDICATIONS.of(state).values()] == [
        ("baclofen", moment("08:01")),
        ("zzz", moment("08:02")),
    ]


def view_of(unit: Unit, at: str) -> View[PatientState]:
    return View(unit.replay._patients.states["p1"], moment(at), unit.settings)


@pytest.mark.parametrize(
    ("at", "phase", "nadir"),
    [
        ("05:00", Phase.INTER, False),
        ("07:00", Phase.PRE, False),
        ("08:04", Phase.PRE, False),
        ("10:00", Phase.INTRA, False),
        ("12:00", Phase.POST, True),
        ("13:00", Phase.POST, True),
        ("13:01", Phase.POST, False),
        ("17:00", Phase.POST, False),
        ("17:01", Phase.INTER, False),
    ],
)
def test_phases_of_a_treatment(at: str, phase: Phase, *, nadir: bool) -> None:
    unit = Unit()
    unit.session(at="08:00")
    unit.session_end(at="12:00")
    place = place_of(view_of(unit, "20:00"), moment(at))
    assert (place.phase, place.is_nadir) == (phase, nadir)


def test_nothing_comes_after_a_treatment_whose_end_nobody_knows() -> None:
    unit = Unit()
    unit.session(at="08:00")
    assert place_of(view_of(unit, "d2 09:00"), moment("d2 08:30")).phase is Phase.INTER


def test_days_of_the_site() -> None:
    unit = Unit(rules={"site": {"time_zone": "America/Sao_Paulo"}})
    unit.session(at="08:00")
    view = View(unit.replay._patients.states["p1"], datetime(2018, 11, 4, 2, 30, tzinfo=UTC), unit.settings)
    assert day_of(view, view.now) == date(2018, 11, 3)
    # Summer time began at midnight of that day, which had no 00:00.
    assert next_day(view) == start_of(view, date(2018, 11, 4)) == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RuleSettingsError, match=r"site.time_zone: .*Europe/Berlin"):
        parse_settings({"site": {"time_zone": "Mars/Olympus"}})


def kept(unit: Unit) -> list[tuple[str, datetime]]:
    (state,) = unit.replay._patients.states.values()
    return [(held.action, held.at) for held in sorted(MEDICATIONS.of(state).values(), key=lambda held: held.at)]


def test_what_tells_of_an_order_stays_though_it_is_old() -> None:
    """The first order, and the dose at the horizon: a stop or a lower dose months later is judged by them."""
    unit = Unit()
    for at, action, dose in (("08:00", "ordered", 5), ("d2 08:00", "changed", 10), ("d3 08:00", "changed", 20)):
        unit.send("medication", at, order_id="o1", drug="baclofen", action=action, dose_mg=dose)
    unit.send("medication", "d4 08:00", order_id="o1", drug="baclofen", action="administered")
    unit.send("medication", "d60 08:00", order_id="o1", drug="baclofen", action="changed", dose_mg=5)
    told = [("ordered", moment("08:00")), ("changed", moment("d3 08:00")), ("changed", moment("d60 08:00"))]
    assert kept(unit) == told
    unit.send("medication", "d61 08:00", order_id="o1", drug="baclofen", action="stopped")
    assert kept(unit) == [*told, ("stopped", moment("d61 08:00"))]
    unit.send("medication", "d97 08:00", order_id="o2", drug="baclofen", action="ordered", dose_mg=5)
    assert kept(unit) == [("ordered", moment("d97 08:00"))]


def test_of_an_id_that_is_used_again_the_old_order_goes() -> None:
    unit = Unit()
    for at, action in (("08:00", "ordered"), ("d2 08:00", "stopped"), ("d60 08:00", "ordered"), ("d61 08:00", "held")):
        unit.send("medication", at, order_id="o1", drug="baclofen", action=action)
    assert kept(unit) == [("ordered", moment("d60 08:00")), ("held", moment("d61 08:00"))]


def test_orders_that_ended_go_first_where_there_are_too_many() -> None:
    unit = Unit()
    unit.send("medication", "08:00", order_id="old", drug="baclofen", action="ordered", dose_mg=5)
    unit.send("medication", "d40 08:00", order_id="old", drug="baclofen", action="stopped")
    for minute in range(200):
        at = stamp(moment("d41 08:00") + timedelta(minutes=minute))
        unit.send("medication", at, order_id="o", drug="baclofen", action="administered", dose_mg=5)
    assert len(kept(unit)) == 200
    assert {action for action, _ in kept(unit)} == {"administered"}
