"""Elections with one rule broken each: what judges the election must see every one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from agents.contracts.election import ElectionAnswer
from agents.contracts.identity import Election
from edge_commander.election import acceptor, decision, proposer
from edge_commander.election.acceptor import BORN, AcceptorState, Init
from edge_commander.election.decision import Facts
from edge_commander.election.electorate import Self
from edge_commander.election.proposer import Proposal
from tests.fakes.election_world import Rules


def _forgets_promises(state: AcceptorState, *rest: Any) -> tuple[AcceptorState, ElectionAnswer]:
    after, said = acceptor.answer(state, *rest)
    return msgspec.structs.replace(after, promised=state.promised), said


def _forgets_votes(state: AcceptorState, *rest: Any) -> tuple[AcceptorState, ElectionAnswer]:
    after, said = acceptor.answer(state, *rest)
    return after, msgspec.structs.replace(said, accepted=None)


def _takes_old_ballots(state: AcceptorState, me: Self, peer: str, asked: Any) -> tuple[AcceptorState, ElectionAnswer]:
    if isinstance(asked, acceptor.Accept) and state.decided is None:
        return acceptor.answer(msgspec.structs.replace(state, promised=None, accepted=None), me, peer, asked)
    return acceptor.answer(state, me, peer, asked)


def _ignores_taken(one: Proposal, *rest: Any) -> Proposal:
    after = proposer.step(one, *rest)
    began = one.value is None and after.value is not None
    return replace(after, value=after.me.node) if began else after


def _minority(one: Proposal, peer: str, asked: Any, said: ElectionAnswer) -> Proposal:
    """One vote fewer is enough: the proposer believes in fewer voters than there are."""
    after = proposer.step(one, peer, asked, said)
    enough = len(one.voters) // 2
    if after.value is None and len(after.promises) >= max(1, enough) and not after.ended:
        taken = after.taken
        return replace(after, value=after.me.node if taken is None else taken.value)
    if after.value is not None and len(after.takers) >= max(1, enough) and not after.ended:
        return replace(after, decided=after.value)
    return after


def _any_key(state: AcceptorState, me: Self, *rest: Any) -> tuple[AcceptorState, ElectionAnswer]:
    """A replaced box votes in the place of the old one."""
    return acceptor.answer(state, _as_listed(state, me), *rest)


def _as_listed(state: AcceptorState, me: Self) -> Self:
    return next((Self(me.site, one.node, one.kid) for one in state.voters if one.node == me.node), me)


def _any_key_acts(facts: Facts) -> decision.Outcome:
    return decision.decide(replace(facts, me=_as_listed(facts.state, facts.me)))


def _goes_back(state: AcceptorState, epoch: int, election: Election, voters: Any) -> AcceptorState:
    if epoch < state.known:
        return acceptor.adopt(BORN, epoch, election, voters)
    return acceptor.adopt(state, epoch, election, voters)


def _acts_late(facts: Facts) -> decision.Outcome:
    return decision.decide(replace(facts, epoch=facts.state.epoch))


def _begins_again(facts: Facts) -> decision.Outcome:
    return decision.decide(replace(facts, state=msgspec.structs.replace(facts.state, init=Init.NONE, wiped=False)))


MUTANTS: dict[str, Rules] = {
    "an acceptor forgets its promise": Rules(answer=_forgets_promises),
    "an acceptor does not tell its vote": Rules(answer=_forgets_votes),
    "an acceptor takes a ballot below its promise": Rules(answer=_takes_old_ballots),
    "a box without memory votes": Rules(without_memory=lambda floor: BORN),
    "a proposer ignores what was taken": Rules(step=_ignores_taken),
    "less than a majority decides": Rules(step=_minority),
    "a replaced box votes": Rules(answer=_any_key, decide=_any_key_acts),
    "an older roster is followed": Rules(adopt=_goes_back),
    "a box acts on the decision of an epoch that is over": Rules(decide=_acts_late),
    "a wiped initialiser begins again": Rules(decide=_begins_again),
}
