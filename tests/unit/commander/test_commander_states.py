"""The transition table: every pair of state and event, and what no path may do."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contracts.messages import NodeState
from edge_commander.reasons import NOTHING, NodeRecord, Reason, Why
from edge_commander.states import TABLE, Event, IllegalTransition, step

S, E = NodeState, Event
EXPECTED = {
    (S.FACTORY, E.KEYS_READY): S.ENROLLING,
    (S.ENROLLING, E.ENROLLED): S.ASSIGNED,
    (S.ENROLLING, E.RETIRED): S.RETIRED,
    (S.ASSIGNED, E.SITE_KNOWN): S.FORMING,
    (S.ASSIGNED, E.WIPE_ARMED): S.WIPING,
    (S.ASSIGNED, E.RETIRED): S.RETIRED,
    (S.FORMING, E.FORMED): S.READY,
    (S.FORMING, E.WIPE_ARMED): S.WIPING,
    (S.FORMING, E.RETIRED): S.RETIRED,
    (S.READY, E.REJOIN): S.FORMING,
    (S.READY, E.WIPE_ARMED): S.WIPING,
    (S.READY, E.RETIRED): S.RETIRED,
    (S.WIPING, E.WIPED): S.ENROLLING,
    (S.WIPING, E.WIPE_REFUSED): S.ENROLLING,
    (S.WIPING, E.WIPE_FAILED): S.WIPING,
    (S.WIPING, E.RETIRED): S.RETIRED,
}


@pytest.mark.parametrize("state", NodeState)
@pytest.mark.parametrize("event", Event)
def test_every_pair(state: NodeState, event: Event) -> None:
    if (state, event) in EXPECTED:
        assert step(state, event) is EXPECTED[state, event]
    else:
        with pytest.raises(IllegalTransition) as illegal:
            step(state, event)
        assert (illegal.value.state, illegal.value.event) == (state, event)


def test_every_state_and_event_is_in_the_table() -> None:
    assert set(TABLE) == set(NodeState)
    assert {event for events in TABLE.values() for event in events} == set(Event)
    reached = {S.FACTORY} | {after for events in TABLE.values() for after in events.values()}
    assert reached == set(NodeState)


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_paths(events: list[Event]) -> None:
    state, seen = S.FACTORY, [S.FACTORY]
    for event in events:
        try:
            state = step(state, event)
        except IllegalTransition:
            continue
        seen.append(state)
    if S.RETIRED in seen:
        assert set(seen[seen.index(S.RETIRED) :]) == {S.RETIRED}  # nothing leaves it
    assert S.FACTORY not in seen[1:]  # keys are made once
    for before, after in itertools.pairwise(seen):
        if after is S.READY:
            assert before is S.FORMING
        if after is S.ASSIGNED:
            assert before is S.ENROLLING


def test_a_record_says_since_when() -> None:
    record = NodeRecord().happened(E.KEYS_READY, 1000)
    assert (record.state, record.since, record.reported) == (S.ENROLLING, 1000, False)
    waiting = record.because(Reason(Why.ENDPOINT), 2000)
    assert (waiting.since, waiting.reason.text) == (2000, "waiting: endpoint")
    assert waiting.because(Reason(Why.ENDPOINT), 3000) is waiting  # the same reason keeps its time
    assert waiting.because(NOTHING, 3000).since == 3000
    assert waiting.message() == waiting.message()


def test_an_illegal_event_changes_nothing() -> None:
    record = NodeRecord(state=S.RETIRED, since=5)
    with pytest.raises(IllegalTransition):
        record.happened(E.KEYS_READY, 9)
    assert record == NodeRecord(state=S.RETIRED, since=5)
