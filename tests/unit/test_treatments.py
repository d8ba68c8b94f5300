"""What a treatment is: where rules need not be asked again."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from models.records import SessionEnded, SessionStarted
from models.state import Flow, PatientState, Session, StateCodec
from streams.rules.facts.treatments import SKEW, is_sure_to_run, treatment_at, treatments
from tests.unit.timeline import FIRST_DAY

MINUTES = st.integers(-3000, 3000).map(lambda minutes: FIRST_DAY + timedelta(minutes=minutes))


@st.composite
def sessions(draw: st.DrawFn, name: str) -> Session:
    """A session from messages that need not agree."""
    begun, over = (sorted(draw(st.sets(MINUTES, max_size=2))) for _ in range(2))
    starts = [SessionStarted(at=at, patient_id="p1", session_id=name, machine_id="m1") for at in begun]
    ends = [SessionEnded(at=at, patient_id="p1", session_id=name) for at in over]
    flows = [Flow(at, at + timedelta(minutes=9)) for at in draw(st.lists(MINUTES, max_size=1))]
    told = [*begun, *over, *(flow.since for flow in flows)]
    assume(told)
    return Session(session_id=name, machine_id="m1", first_at=min(told), starts=starts, ends=ends, flows=flows)


@given(
    start=MINUTES,
    flowing=st.integers(0, 1500),
    others=st.lists(st.sampled_from(["a", "b"]), unique=True).flatmap(
        lambda names: st.tuples(*(sessions(name) for name in names))
    ),
    moments=st.lists(MINUTES, min_size=5, max_size=5),
)
def test_the_first_blood_flow_of_a_session_that_is_sure_to_run_changes_no_treatment(
    start: datetime, flowing: int, others: tuple[Session, ...], moments: list[datetime]
) -> None:
    state = StateCodec(PatientState).new("p1")
    began = SessionStarted(at=start, patient_id="p1", session_id="s1", machine_id="m1")
    session = Session(session_id="s1", machine_id="m1", first_at=began.at, starts=[began])
    state.sessions = {one.session_id: one for one in (*others, session)}
    at = began.at + timedelta(minutes=flowing)
    assume(is_sure_to_run(state, session, at))
    looked_at = [*moments, began.at, began.at - SKEW, began.at + SKEW, at]
    before = _seen(state, looked_at)
    session.flows = [Flow(at, at)]
    assert _seen(state, looked_at) == before


def _seen(state: PatientState, moments: list[datetime]) -> object:
    """All that rules read of treatments."""
    found = treatments(state)
    shown = [(one.key, one.start, one.started, one.ended_at, one.over_at, one.contradictions) for one in found]
    running = [treatment_at(found, moment) for moment in moments]
    return shown, [one and one.key for one in running]


def test_an_ordinary_session_is_sure_to_run_and_one_beside_another_is_not() -> None:
    state = StateCodec(PatientState).new("p1")
    began = SessionStarted(at=FIRST_DAY, patient_id="p1", session_id="s1", machine_id="m1")
    session = Session(session_id="s1", machine_id="m1", first_at=began.at, starts=[began])
    state.sessions = {"s1": session}
    assert is_sure_to_run(state, session, FIRST_DAY + timedelta(minutes=1))
    earlier = FIRST_DAY - timedelta(days=2)
    past = Session(
        session_id="s0",
        machine_id="m1",
        first_at=earlier,
        starts=[SessionStarted(at=earlier, patient_id="p1", session_id="s0", machine_id="m1")],
    )
    state.sessions["s0"] = past
    assert not is_sure_to_run(state, session, FIRST_DAY + timedelta(minutes=1))
    past.ends = [SessionEnded(at=earlier + timedelta(hours=4), patient_id="p1", session_id="s0")]
    assert is_sure_to_run(state, session, FIRST_DAY + timedelta(minutes=1))
