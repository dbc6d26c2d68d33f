"""What a node may do about the site's one `cluster-init`: one table of rules over what it knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.contracts.identity import Election
from agents.contracts.ids import NodeId
from edge_commander.election.acceptor import AcceptorState, Init
from edge_commander.election.electorate import Self, is_voter


class Act(StrEnum):
    """The step that is allowed."""

    WAIT = "wait"  # for another roster
    ASK_CLOUD = "ask-cloud"  # for the grant
    VOTE = "vote"  # run the election among the voters
    LISTEN = "listen"  # learn who it is, without wanting it
    INITIALISE = "initialise"  # run `cluster-init`; Outcome.again: it was begun before
    JOIN = "join"  # join Outcome.node, or any member where that is None
    WORK = "work"  # it has the cluster of this epoch
    STOP = "stop"  # it has the cluster of an older epoch: stop it, and wait to be wiped


class Because(StrEnum):
    """Why that step and no other."""

    OLD_ROSTER = "a later epoch is known here"
    NOT_ADOPTED = "the roster's epoch is not recorded yet"
    VOTERS = "the voters are not fixed yet"
    UNDECIDED = "nobody is decided on yet"
    NO_VOTE = "this box does not vote in this epoch"
    DECIDED = "decided"
    WIPED = "the cluster that this box began is gone from its disk: it may only join"
    NO_MEMORY = "this box's memory of this epoch is gone: it may only join"
    MEMBER = "the cluster of this epoch is here"
    OLD_CLUSTER = "the cluster here is of an older epoch"


@dataclass(frozen=True)
class Facts:
    """`epoch`, `election`: of the verified roster at hand. `cluster`: the epoch of the cluster whose data is on this
    box's disk (its `var`), None for none."""

    state: AcceptorState
    me: Self
    epoch: int
    election: Election
    cluster: int | None = None


@dataclass(frozen=True)
class Outcome:
    """`node`: the initialiser, where it matters. `raise_epoch`: where no other member lives, only an operator's next
    epoch helps."""

    act: Act
    because: Because
    node: NodeId | None = None
    again: bool = False
    raise_epoch: bool = False


def decide(facts: Facts) -> Outcome:
    """The table, first rule that fits."""
    return _roster(facts) or _epoch(facts)


def _roster(facts: Facts) -> Outcome | None:
    state = facts.state
    if facts.epoch < state.known or (facts.cluster is not None and facts.cluster > facts.epoch):
        return Outcome(Act.WAIT, Because.OLD_ROSTER)
    if facts.cluster is not None and facts.cluster < facts.epoch:
        return Outcome(Act.STOP, Because.OLD_CLUSTER)
    if facts.epoch > state.epoch or facts.election is not state.election:
        return Outcome(Act.WAIT, Because.NOT_ADOPTED)
    return None


def _epoch(facts: Facts) -> Outcome:
    state = facts.state
    if state.decided == facts.me.node:
        return _chosen(facts)
    if facts.cluster is not None:
        return Outcome(Act.WORK, Because.MEMBER)
    if state.decided is not None:
        return Outcome(Act.JOIN, Because.DECIDED, node=state.decided)
    return _undecided(facts)


def _chosen(facts: Facts) -> Outcome:
    """This node's id was decided on: is this still the box that was meant, and did it do it already?"""
    state = facts.state
    forgot = state.is_barred or (state.election is Election.OFFLINE and not is_voter(state.voters, facts.me))
    may_begin = not forgot and not state.wiped and state.init is not Init.DONE
    if facts.cluster is not None and not (may_begin and state.init is Init.STARTED):
        return Outcome(Act.WORK, Because.MEMBER)
    if may_begin:
        return Outcome(Act.INITIALISE, Because.DECIDED, node=facts.me.node, again=state.init is Init.STARTED)
    return Outcome(Act.JOIN, Because.NO_MEMORY if forgot else Because.WIPED, raise_epoch=True)


def _undecided(facts: Facts) -> Outcome:
    state = facts.state
    if state.election is Election.CLOUD:
        if state.is_barred:
            return Outcome(Act.LISTEN, Because.NO_MEMORY)
        return Outcome(Act.ASK_CLOUD, Because.UNDECIDED)
    if not state.voters:
        return Outcome(Act.WAIT, Because.VOTERS)
    if state.is_barred or not is_voter(state.voters, facts.me):
        return Outcome(Act.LISTEN, Because.NO_VOTE)
    return Outcome(Act.VOTE, Because.UNDECIDED)
