"""Rules on settings: no order of samples changes what is open, and samples that say nothing new evaluate nobody."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.timeline import Unit, stamp

RULES = {"dialysate_sodium_high", "setting_deviation", "dialysate_mismatch"}
Sample = dict[str, Any]


def treatment(seed: int) -> list[Sample]:
    """A sample every ten seconds for a quarter of an hour, in which somebody turns the settings now and then."""
    chance = random.Random(seed)
    now: Sample = {"dialysate_na_mmol_l": 138.0, "dialysate_k_mmol_l": 2.0, "setting_origin": "ordered"}
    samples = []
    for number in range(1, 90):
        if number % 6 == 0 and chance.random() < 0.5:
            sodium, potassium = chance.choice((138.0, 140.0, 145.0, 148.0, 151.0)), chance.choice((1.0, 2.0, 3.0))
            origin = chance.choice(("ordered", "user", "user", None))
            now = {"dialysate_na_mmol_l": sodium, "dialysate_k_mmol_l": potassium, "setting_origin": origin}
        at = f"08:{number // 6:02}:{number % 6}0"
        partial = {name: value for name, value in now.items() if chance.random() < 0.9 or name == "setting_origin"}
        samples.append({"at": stamp(at), "blood_flow_ml_min": 300.0, **partial})
    return samples


def played(samples: list[Sample]) -> set[tuple[str, ...]]:
    """What is open at the end, when all has arrived."""
    unit = Unit()
    unit.lab("potassium", 4.9, "mmol/L", at="07:30")
    unit.session(at="08:00")
    for sample in samples:
        unit.telemetry(received=stamp("08:15"), **sample)
    unit.clock("08:30")
    return {alert for alert in unit.open if alert[0] in RULES}


@pytest.mark.parametrize("seed", range(60))
def test_what_is_open_depends_on_no_order_of_samples(seed: int) -> None:
    samples, chance = treatment(seed), random.Random(seed)
    expected = played(samples)
    for _ in range(3):
        late = sorted(samples, key=lambda sample: (sample["at"][:16], chance.random()))
        assert played(late) == expected
        chance.shuffle(late)
        assert played([sample for sample in late for _ in range(chance.choice((1, 1, 2)))]) == expected


def test_the_treatments_above_open_alerts_of_every_rule() -> None:
    found = [alert[0] for seed in range(60) for alert in played(treatment(seed))]
    assert {rule: found.count(rule) > 5 for rule in RULES} == dict.fromkeys(RULES, True)


@pytest.mark.parametrize("origin", ["ordered", "user", None])
def test_a_sample_that_repeats_the_settings_evaluates_nobody(
    origin: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit()
    unit.session(at="08:00")
    settings: Sample = {"dialysate_na_mmol_l": 148.0, "dialysate_k_mmol_l": 2.0, "setting_origin": origin}
    for second in range(10):
        unit.telemetry(at=f"08:01:{second:02}", blood_flow_ml_min=300, **settings)
    asked: list[Any] = []
    finder = unit.replay._patients._evaluator._finder
    find = finder.find

    def found(*given: Any) -> Any:
        asked.append(given)
        return find(*given)

    monkeypatch.setattr(finder, "find", found)
    for second in range(10, 40):
        unit.telemetry(at=f"08:01:{second:02}", blood_flow_ml_min=300, **(settings if second % 3 else {}))
    assert asked == []
    unit.telemetry(at="08:01:50", blood_flow_ml_min=300, **(settings | {"dialysate_k_mmol_l": 1.0}))
    assert len(asked) == 1
