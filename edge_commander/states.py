"""The node's state machine: one table of transitions, which raises on an event it does not list. Pure.

The form is h11's `_state.py`. A state says what the node is; why it waits is a Reason, see reasons.py.
"""

from __future__ import annotations

from enum import StrEnum

from agents.contracts.messages import NodeState


class Event(StrEnum):
    """What may move a node from one state to another."""

    KEYS_READY = "keys-ready"  # both device keys are on disk
    ENROLLED = "enrolled"  # the cloud knows both keys and named the site
    SITE_KNOWN = "site-known"  # a site document whose roster holds this node is on disk
    FORMED = "formed"  # the cluster answers and this node is a Ready member
    REJOIN = "rejoin"  # verified command: membership is given up and taken anew
    WIPE_ARMED = "wipe-armed"  # verified command, consumed sequence recorded
    WIPE_FAILED = "wipe-failed"  # attempts are used up: the target stays unmounted, a person must come
    WIPED = "wiped"  # erased and verified: back to enrolment, same identity, it may only join
    WIPE_REFUSED = "wipe-refused"  # early boot did not believe it: nothing was erased
    RETIRED = "retired"  # verified command: identity is given up for good


class IllegalTransition(Exception):
    """The table does not list this event in this state: a bug, never bad input."""

    def __init__(self, state: NodeState, event: Event) -> None:
        super().__init__(f"event {event.value!r} cannot happen in state {state.value!r}")
        self.state = state
        self.event = event


TABLE: dict[NodeState, dict[Event, NodeState]] = {
    NodeState.FACTORY: {
        Event.KEYS_READY: NodeState.ENROLLING,
    },
    NodeState.ENROLLING: {
        Event.ENROLLED: NodeState.ASSIGNED,
        Event.RETIRED: NodeState.RETIRED,
    },
    NodeState.ASSIGNED: {
        Event.SITE_KNOWN: NodeState.FORMING,
        Event.WIPE_ARMED: NodeState.WIPING,
        Event.RETIRED: NodeState.RETIRED,
    },
    NodeState.FORMING: {
        Event.FORMED: NodeState.READY,
        Event.WIPE_ARMED: NodeState.WIPING,
        Event.RETIRED: NodeState.RETIRED,
    },
    NodeState.READY: {
        Event.REJOIN: NodeState.FORMING,
        Event.WIPE_ARMED: NodeState.WIPING,
        Event.RETIRED: NodeState.RETIRED,
    },
    NodeState.WIPING: {
        Event.WIPED: NodeState.ENROLLING,
        Event.WIPE_REFUSED: NodeState.ENROLLING,
        Event.WIPE_FAILED: NodeState.WIPING,
        Event.RETIRED: NodeState.RETIRED,
    },
    NodeState.RETIRED: {},
}
"""Every transition there is. What is not listed cannot happen."""


def step(state: NodeState, event: Event) -> NodeState:
    """The state after `event`; raises IllegalTransition when the table does not list it."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None
