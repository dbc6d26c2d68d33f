"""The proposer of single-decree Paxos as a value: which request comes next, and what the answers add up to. Pure.

A proposer's own acceptor is asked first, so that a ballot it used is on disk and never used again after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.contracts.election import (
    MAX_ROUND,
    Accept,
    Ballot,
    ElectionAnswer,
    Learn,
    Prepare,
    Query,
    Verdict,
    Vote,
)
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected
from edge_commander.election.acceptor import AcceptorState
from edge_commander.election.electorate import Self, Voters, digest, majority, votes

Asked = Prepare | Accept


@dataclass(frozen=True)
class Proposal:
    """One ballot. `value` None: still asking for promises; else asking for votes for it.

    `decided`: the end. `fenced`: a later epoch that an acceptor knows, the end too. `round_seen`: the highest heard of.
    """

    me: Self
    epoch: int
    voters: Voters
    ballot: Ballot
    promises: frozenset[NodeId] = frozenset()
    taken: Vote | None = None
    value: NodeId | None = None
    takers: frozenset[NodeId] = frozenset()
    refusals: frozenset[NodeId] = frozenset()
    decided: NodeId | None = None
    fenced: int = 0
    round_seen: int = 0

    @property
    def ended(self) -> bool:
        """Nothing more will come of it: decided, fenced, or so many refused that no majority is left."""
        hopeless = len(self.voters) - len(self.refusals) < majority(self.voters)
        return self.decided is not None or self.fenced > 0 or hopeless


def begin(state: AcceptorState, me: Self, round_seen: int = 0) -> Proposal:
    """A new ballot above all that this box promised and `round_seen`. Raises Rejected where the rounds are used up."""
    highest = max(round_seen, 0 if state.promised is None else state.promised.round)
    if highest >= MAX_ROUND:
        raise Rejected("no round is left in this epoch: it needs the next")
    ballot = Ballot(round=highest + 1, node=me.node)
    return Proposal(me=me, epoch=state.epoch, voters=state.voters, ballot=ballot, round_seen=highest)


def request(one: Proposal) -> Asked:
    """What every voter is to be asked now."""
    names = digest(one.voters)
    if one.value is None:
        return Prepare(site=one.me.site, epoch=one.epoch, voters=names, ballot=one.ballot)
    return Accept(site=one.me.site, epoch=one.epoch, voters=names, ballot=one.ballot, value=one.value)


def query(state: AcceptorState, me: Self) -> Query:
    """Asks what others know, and changes nothing."""
    return Query(site=me.site, epoch=state.epoch, voters=digest(state.voters))


def announcement(state: AcceptorState, me: Self) -> Learn:
    """Tells the decision that `state` holds."""
    assert state.decided is not None
    return Learn(site=me.site, epoch=state.epoch, voters=digest(state.voters), value=state.decided)


def step(one: Proposal, peer: NodeId, asked: Asked, said: ElectionAnswer) -> Proposal:
    """The proposal after `peer`'s answer to `asked`. Answers may come late, twice, and to what is past: then they count
    for nothing but what is for ever true."""
    if one.ended or asked.epoch != one.epoch or not votes(one.voters, peer):
        return one
    if said.verdict is Verdict.FENCED:
        return replace(one, fenced=max(said.epoch, one.epoch + 1))
    if said.promised is not None:
        one = replace(one, round_seen=max(one.round_seen, said.promised.round))
    if said.decided is not None and votes(one.voters, said.decided):
        return replace(one, decided=said.decided)
    if asked != request(one):
        return one
    if said.verdict is not Verdict.OK:
        return replace(one, refusals=one.refusals | {peer})
    return _promised(one, peer, said) if isinstance(asked, Prepare) else _taken(one, peer)


def _promised(one: Proposal, peer: NodeId, said: ElectionAnswer) -> Proposal:
    taken = one.taken
    if said.accepted is not None and (taken is None or said.accepted.ballot > taken.ballot):
        taken = said.accepted
    one = replace(one, promises=one.promises | {peer}, taken=taken)
    if len(one.promises) < majority(one.voters):
        return one
    # What a majority may have taken already is the only safe value; else this box itself.
    return replace(one, value=one.me.node if taken is None else taken.value, refusals=frozenset())


def _taken(one: Proposal, peer: NodeId) -> Proposal:
    one = replace(one, takers=one.takers | {peer})
    return replace(one, decided=one.value) if len(one.takers) >= majority(one.voters) else one
