"""The two kinds of partition: patients and water loops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from models.state import LoopState, PatientState, StateCodec
from streams.engine import merge
from streams.engine.active_sessions import end_sessions
from streams.engine.chair_conflicts import tell_patients
from streams.engine.chair_signals import tell_chairs
from streams.engine.evaluate import Evaluator
from streams.engine.filing import apply
from streams.engine.loop_filing import apply_loop
from streams.engine.loop_signals import send_signals
from streams.engine.partition import Partition
from streams.engine.waiting_samples import WaitingSamples
from streams.rules.api import PatientRule, PatientView
from streams.rules.catalogue import LOOP_RULES, PATIENT_RULES, RuleSettings


def _ignore(_rule: str) -> None:
    pass


def _after_patient(view: PatientView) -> None:
    state = view.read()
    send_signals(view)
    tell_chairs(view)
    # After the retractions, so that a loop does not count one patient twice.
    if state.merged_into is not None:
        merge.move_out(state)
    if state.sessions:
        end_sessions(state, view.now)


def patient_partition(
    settings: RuleSettings,
    retention: timedelta,
    on_rule_error: Callable[[str], None] = _ignore,
    rules: tuple[PatientRule, ...] = PATIENT_RULES,
) -> Partition[PatientState]:
    """Build an empty partition of patients; `retention` is how long an ended alert stays readable."""
    evaluator = Evaluator(rules, settings, retention, _after_patient, on_rule_error, merge.closed)
    channels = tuple(sorted({field for rule in rules for field in rule.channels}))
    file = partial(apply, channels=channels)
    return Partition(StateCodec(PatientState), file, evaluator, merge.move_out, WaitingSamples(channels))


def loop_partition(
    settings: RuleSettings, retention: timedelta, on_rule_error: Callable[[str], None] = _ignore
) -> Partition[LoopState]:
    """Build an empty partition of water loops and chairs."""
    evaluator = Evaluator(LOOP_RULES, settings, retention, tell_patients, on_rule_error)
    return Partition(StateCodec(LoopState), apply_loop, evaluator)
