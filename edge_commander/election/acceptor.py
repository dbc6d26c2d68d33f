"""The acceptor of single-decree Paxos as a value: its durable state, and what it answers. Pure.

The rules, besides Lamport's two:

* One state for one epoch, the highest seen. Of an older one nothing is said, and an older roster is refused.
* **Birth**: the state is made before the device's keys are. A box that has keys and no state cannot show that it did
  not vote, so it counts as having voted: it is barred from every epoch up to the one it next knows of. No other box is
  asked: those who know of its vote may be the ones that are down.
* Voters are fixed with the epoch. A box with another key than the list says is none of them.
* How the site elects is part of the epoch: an acceptor never votes where the cloud decides.

A caller must have the returned state on disk before it sends the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from agents.contracts.election import (
    Accept,
    Ballot,
    ElectionAnswer,
    ElectionRequest,
    InitGrant,
    Learn,
    Prepare,
    Query,
    Verdict,
    Vote,
)
from agents.contracts.identity import Election, Voter
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected
from edge_commander.election.electorate import Self, Voters, canonical, digest, is_voter, votes


class EpochRefused(Rejected):
    """A roster that must not be followed: of an older epoch, or one that says otherwise of an epoch known already."""


class Init(StrEnum):
    """How far this box came with the `cluster-init` of the epoch."""

    NONE = "none"
    STARTED = "started"
    DONE = "done"


class AcceptorState(msgspec.Struct, frozen=True, kw_only=True):
    """On `ident`. `epoch`: the highest adopted, 0 for none. `barred`: no vote in epochs up to this one. `lost`: the
    memory is gone, and it is not known of which epoch. `decided`: the initialiser, by the voters or by the endpoint.
    `wiped`: this box was wiped in this epoch. `life`: a number that it drew before it told the endpoint that it
    begins; a copy of the disk from before has another, or none. All but `barred` and `lost` are of `epoch` alone."""

    epoch: int = 0
    election: Election = Election.CLOUD
    voters: Voters = ()
    barred: int = 0
    lost: bool = False
    promised: Ballot | None = None
    accepted: Vote | None = None
    decided: NodeId | None = None
    init: Init = Init.NONE
    wiped: bool = False
    life: str = ""

    @property
    def known(self) -> int:
        """The highest epoch that this box knows of."""
        return max(self.epoch, self.barred)

    @property
    def is_barred(self) -> bool:
        """No vote in the present epoch: the memory of it is gone."""
        return self.barred >= self.epoch


BORN = AcceptorState()
"""Of a box that has no keys yet, and so never voted."""


def without_memory(floor: int) -> AcceptorState:
    """Of a box that has keys and whose state is gone. `floor`: the highest epoch that is known from elsewhere (site
    document on `ident`, TPM), 0 for none: then the next one adopted is barred too."""
    return AcceptorState(barred=floor, lost=floor == 0)


def adopt(state: AcceptorState, epoch: int, election: Election, voters: Iterable[Voter]) -> AcceptorState:
    """The state after a verified roster. Raises EpochRefused."""
    list_ = canonical(voters) if election is Election.OFFLINE else ()
    if epoch < state.known:
        raise EpochRefused(f"the roster is of epoch {epoch}; epoch {state.known} is known here")
    if epoch > state.epoch:
        barred = epoch if state.lost else state.barred
        return AcceptorState(epoch=epoch, election=election, voters=list_, barred=barred)
    if election is not state.election:
        raise EpochRefused(f"epoch {epoch} elects by {state.election.value}, and not by {election.value}")
    if not state.voters:
        return msgspec.structs.replace(state, voters=list_)
    if list_ and list_ != state.voters:
        raise EpochRefused(f"the voters of epoch {epoch} are fixed, and the roster names others")
    return state


def answer(
    state: AcceptorState, me: Self, peer: NodeId, request: ElectionRequest
) -> tuple[AcceptorState, ElectionAnswer]:
    """What this box says to `peer` (authenticated; itself too), and the state that must be durable before it does."""
    if verdict := _out_of_place(state, me, peer, request):
        return state, ElectionAnswer(epoch=state.known, verdict=verdict)
    if isinstance(request, Learn):
        state = learn(state, request.epoch, request.value)
        return state, _told(state, Verdict.OK)
    if state.is_barred or not is_voter(state.voters, me):
        return state, ElectionAnswer(epoch=state.known, verdict=Verdict.MUTE, decided=state.decided)
    if isinstance(request, Query):
        return state, _told(state, Verdict.OK)
    if state.decided is not None:
        return state, _told(state, Verdict.OUTBID)
    return _vote(state, request)


def _out_of_place(state: AcceptorState, me: Self, peer: NodeId, request: ElectionRequest) -> Verdict | None:
    """The first rule that the request breaks."""
    value = request.value if isinstance(request, (Accept, Learn)) else None
    ballot = request.ballot if isinstance(request, (Prepare, Accept)) else None
    rules = (
        (request.site != me.site, Verdict.MISMATCH),
        (request.epoch < state.known, Verdict.FENCED),
        (request.epoch > state.epoch, Verdict.BEHIND),
        (state.election is not Election.OFFLINE, Verdict.MISMATCH),
        (not state.voters, Verdict.BEHIND),
        (request.voters != digest(state.voters), Verdict.MISMATCH),
        (not isinstance(request, Query) and not votes(state.voters, peer), Verdict.MISMATCH),
        (value is not None and not votes(state.voters, value), Verdict.MISMATCH),
        (ballot is not None and ballot.node != peer, Verdict.MISMATCH),
    )
    return next((verdict for broken, verdict in rules if broken), None)


def _vote(state: AcceptorState, request: Prepare | Accept) -> tuple[AcceptorState, ElectionAnswer]:
    if state.promised is not None and request.ballot < state.promised:
        return state, _told(state, Verdict.OUTBID)
    if isinstance(request, Prepare):
        state = msgspec.structs.replace(state, promised=request.ballot)
        return state, _told(state, Verdict.OK)
    taken = state.accepted
    if taken is not None and taken.ballot == request.ballot and taken.value != request.value:
        return state, ElectionAnswer(epoch=state.known, verdict=Verdict.MISMATCH)
    vote = Vote(ballot=request.ballot, value=request.value)
    state = msgspec.structs.replace(state, promised=request.ballot, accepted=vote)
    return state, _told(state, Verdict.OK)


def _told(state: AcceptorState, verdict: Verdict) -> ElectionAnswer:
    return ElectionAnswer(
        epoch=state.known,
        verdict=verdict,
        promised=state.promised,
        accepted=state.accepted,
        decided=state.decided,
    )


def learn(state: AcceptorState, epoch: int, value: NodeId) -> AcceptorState:
    """The state that knows the decision; the first word stands, and of another epoch nothing is learnt."""
    if epoch != state.epoch or state.decided is not None:
        return state
    return msgspec.structs.replace(state, decided=value)


def granted(state: AcceptorState, me: Self, grant: InitGrant) -> AcceptorState:
    """The state after the endpoint's answer. Raises EpochRefused for a grant of another epoch or site, where the site
    elects offline, and where the endpoint now names another one than before (its store is an older one)."""
    if grant.epoch != state.epoch or grant.site != me.site or state.election is not Election.CLOUD:
        raise EpochRefused(f"a grant for {grant.site}, epoch {grant.epoch}, has no place in epoch {state.epoch} here")
    if grant.node is None:
        return state
    if state.decided not in (None, grant.node):
        raise EpochRefused(f"epoch {grant.epoch} was granted to {state.decided}, and now is to {grant.node}")
    state = learn(state, grant.epoch, grant.node)
    if grant.node == me.node and not grant.yours:
        # It went to this node's earlier key: that box may have begun, and this one does not know.
        return msgspec.structs.replace(state, barred=max(state.barred, state.epoch))
    return state
