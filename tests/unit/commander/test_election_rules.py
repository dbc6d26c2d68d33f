"""Acceptor, proposer and decision, rule by rule; and a few hundred seeds of the simulator."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from agents.contracts.election import (
    MAX_ROUND,
    Accept,
    Ballot,
    ElectionAnswer,
    InitGrant,
    Learn,
    Prepare,
    Query,
    Verdict,
    Vote,
)
from agents.contracts.identity import Election
from agents.core.errors import Rejected
from edge_commander.election import acceptor, proposer
from edge_commander.election.acceptor import BORN, AcceptorState, EpochRefused, Init
from edge_commander.election.decision import Act, Because, Facts, decide
from edge_commander.election.electorate import canonical, digest, majority
from tests.fakes.election_lan import NODES, SITE, me, voters
from tests.fakes.election_world import play

A, B, C, D, _ = NODES
OFFLINE, CLOUD = Election.OFFLINE, Election.CLOUD
VOTERS = canonical(voters())


def state(epoch: int = 1, **more: Any) -> AcceptorState:
    return msgspec.structs.replace(acceptor.adopt(BORN, epoch, OFFLINE, VOTERS), **more)


def ballot(round_: int, node: str = B) -> Ballot:
    return Ballot(round=round_, node=node)


def prepare(round_: int, node: str = B, **more: Any) -> Prepare:
    return msgspec.structs.replace(
        Prepare(site=SITE, epoch=1, voters=digest(VOTERS), ballot=ballot(round_, node)), **more
    )


def accept(round_: int, value: str = B, node: str = B, **more: Any) -> Accept:
    asked = Accept(site=SITE, epoch=1, voters=digest(VOTERS), ballot=ballot(round_, node), value=value)
    return msgspec.structs.replace(asked, **more)


def query(**more: Any) -> Query:
    return msgspec.structs.replace(Query(site=SITE, epoch=1, voters=digest(VOTERS)), **more)


def verdict(before: AcceptorState, asked: Any, peer: str = B, own: str = A) -> Verdict:
    after, said = acceptor.answer(before, me(own), peer, asked)
    if said.verdict is not Verdict.OK:
        assert after == before
    return said.verdict


def test_a_promise_is_kept_and_what_was_taken_is_told() -> None:
    one, said = acceptor.answer(state(), me(A), B, prepare(2))
    assert (said.verdict, said.promised, said.accepted) == (Verdict.OK, ballot(2), None)
    assert verdict(one, prepare(1)) is Verdict.OUTBID
    assert verdict(one, accept(1)) is Verdict.OUTBID
    one, said = acceptor.answer(one, me(A), B, accept(2))
    assert said.verdict is Verdict.OK
    one, said = acceptor.answer(one, me(A), C, prepare(2, C))
    assert said.accepted == Vote(ballot=ballot(2), value=B)
    assert verdict(one, accept(2)) is Verdict.OUTBID


def test_a_ballot_has_one_value() -> None:
    one, _said = acceptor.answer(state(), me(A), B, accept(2, value=B))
    assert verdict(one, accept(2, value=C)) is Verdict.MISMATCH
    assert verdict(one, accept(2, value=B)) is Verdict.OK


@pytest.mark.parametrize(
    ("asked", "peer", "expected"),
    [
        (prepare(1, site="store-2"), B, Verdict.MISMATCH),
        (prepare(1, voters="0" * 64), B, Verdict.MISMATCH),
        (prepare(1), C, Verdict.MISMATCH),  # another one's ballot
        (prepare(1, D), D, Verdict.MISMATCH),  # not a voter
        (accept(1, value=D), B, Verdict.MISMATCH),
        (prepare(1, epoch=2), B, Verdict.BEHIND),
        (query(), D, Verdict.OK),  # anyone on the channel may ask
        (query(epoch=2), B, Verdict.BEHIND),
    ],
)
def test_what_is_out_of_place_is_refused(asked: Any, peer: str, expected: Verdict) -> None:
    assert verdict(state(), asked, peer) is expected


def test_nothing_is_said_of_an_epoch_that_is_over() -> None:
    one, _said = acceptor.answer(state(), me(A), B, accept(2))
    later = acceptor.adopt(one, 2, OFFLINE, VOTERS)
    for asked in (query(), prepare(9), accept(9), Learn(site=SITE, epoch=1, voters=digest(VOTERS), value=B)):
        after, said = acceptor.answer(later, me(A), B, asked)
        assert (after, said) == (later, ElectionAnswer(epoch=2, verdict=Verdict.FENCED))


def test_a_new_epoch_forgets_the_old_ones_votes_and_an_older_roster_is_refused() -> None:
    old = state(decided=B, promised=ballot(3), init=Init.DONE, wiped=True)
    new = acceptor.adopt(old, 2, CLOUD, VOTERS)
    assert new == AcceptorState(epoch=2, election=CLOUD)
    with pytest.raises(EpochRefused, match="epoch 2 is known"):
        acceptor.adopt(new, 1, OFFLINE, VOTERS)


def test_within_an_epoch_neither_the_way_nor_the_voters_change() -> None:
    with pytest.raises(EpochRefused, match="by offline"):
        acceptor.adopt(state(), 1, CLOUD, [])
    with pytest.raises(EpochRefused, match="fixed"):
        acceptor.adopt(state(), 1, OFFLINE, voters(2))
    assert acceptor.adopt(state(), 1, OFFLINE, []) == state()
    unfixed = acceptor.adopt(BORN, 1, OFFLINE, [])
    assert verdict(unfixed, query()) is Verdict.BEHIND
    assert acceptor.adopt(unfixed, 1, OFFLINE, voters()) == state()
    with pytest.raises(Rejected, match="twice"):
        acceptor.adopt(BORN, 1, OFFLINE, [*voters(), voters()[0]])


def test_where_the_cloud_decides_nobody_votes() -> None:
    assert verdict(acceptor.adopt(BORN, 1, CLOUD, VOTERS), prepare(1)) is Verdict.MISMATCH


@pytest.mark.parametrize("floor", [0, 1])
def test_without_memory_there_is_no_vote_until_the_next_epoch(floor: int) -> None:
    one = acceptor.adopt(acceptor.without_memory(floor), 1, OFFLINE, VOTERS)
    for asked in (query(), prepare(1), accept(1)):
        assert verdict(one, asked) is Verdict.MUTE
    told, said = acceptor.answer(one, me(A), B, Learn(site=SITE, epoch=1, voters=digest(VOTERS), value=B))
    assert (said.verdict, told.decided) == (Verdict.OK, B)
    assert verdict(acceptor.adopt(one, 2, OFFLINE, VOTERS), prepare(1, epoch=2)) is Verdict.OK


def test_a_floor_bars_an_older_roster_too() -> None:
    with pytest.raises(EpochRefused):
        acceptor.adopt(acceptor.without_memory(3), 2, OFFLINE, VOTERS)


def test_the_same_node_with_another_key_has_no_vote() -> None:
    other = dataclasses.replace(me(A), kid="x" * 43)
    assert acceptor.answer(state(), other, B, prepare(1))[1].verdict is Verdict.MUTE


def test_majorities_overlap() -> None:
    for count in range(1, 6):
        assert 2 * majority(canonical(voters(count))) > count


def test_a_proposer_takes_the_newest_vote_that_it_hears_of() -> None:
    one = proposer.begin(state(), me(A), 4)
    assert one.ballot == ballot(5, A)
    asked = proposer.request(one)
    old, new = Vote(ballot=ballot(1, B), value=B), Vote(ballot=ballot(2, C), value=C)
    one = proposer.step(one, B, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK, accepted=new))
    one = proposer.step(one, B, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK, accepted=old))
    assert one.value is None  # one voter twice is no majority
    one = proposer.step(one, A, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK))
    assert one.value == C
    late = proposer.step(one, C, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK))
    assert late == one  # a late promise is no vote
    voted = proposer.request(one)
    for node in (A, B):
        one = proposer.step(one, node, voted, ElectionAnswer(epoch=1, verdict=Verdict.OK))
    assert one.ended and one.decided == C


def test_a_proposer_gives_up_where_no_majority_is_left_and_knows_the_next_round() -> None:
    one = proposer.begin(state(), me(A))
    no = ElectionAnswer(epoch=1, verdict=Verdict.OUTBID, promised=ballot(7, C))
    one = proposer.step(one, B, proposer.request(one), no)
    assert not one.ended
    one = proposer.step(one, C, proposer.request(one), no)
    assert one.ended and (one.decided, one.round_seen) == (None, 7)


def test_a_later_epoch_ends_a_proposal() -> None:
    one = proposer.begin(state(), me(A))
    one = proposer.step(one, B, proposer.request(one), ElectionAnswer(epoch=3, verdict=Verdict.FENCED))
    assert one.ended and one.fenced == 3


def test_strangers_and_unknown_values_count_for_nothing() -> None:
    one = proposer.begin(state(), me(A))
    asked = proposer.request(one)
    assert proposer.step(one, D, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK, decided=B)) == one
    assert proposer.step(one, B, asked, ElectionAnswer(epoch=1, verdict=Verdict.OK, decided=D)).decided is None


def test_rounds_end() -> None:
    with pytest.raises(Rejected, match="round"):
        proposer.begin(state(), me(A), MAX_ROUND)


def grant(node: str | None, *, epoch: int = 1, yours: bool = False) -> InitGrant:
    return InitGrant(site=SITE, epoch=epoch, node=node, yours=yours)


def test_a_grant_is_kept_and_another_later_one_is_refused() -> None:
    cloud = acceptor.adopt(BORN, 1, CLOUD, [])
    assert acceptor.granted(cloud, me(A), grant(None)) == cloud
    mine = acceptor.granted(cloud, me(A), grant(A, yours=True))
    assert mine.decided == A and not mine.is_barred
    with pytest.raises(EpochRefused, match="was granted"):
        acceptor.granted(mine, me(A), grant(B))
    with pytest.raises(EpochRefused, match="no place"):
        acceptor.granted(cloud, me(A), grant(A, epoch=2))
    with pytest.raises(EpochRefused, match="no place"):
        acceptor.granted(state(), me(A), grant(A))


def test_a_grant_to_this_nodes_earlier_key_is_not_this_boxs() -> None:
    cloud = acceptor.adopt(BORN, 1, CLOUD, [])
    replaced = acceptor.granted(cloud, me(A), grant(A, yours=False))
    found = decide(Facts(replaced, me(A), 1, CLOUD))
    assert (found.act, found.because, found.raise_epoch) == (Act.JOIN, Because.NO_MEMORY, True)


CLOUDY = acceptor.adopt(BORN, 1, CLOUD, [])
FORGOT = acceptor.adopt(acceptor.without_memory(1), 1, OFFLINE, VOTERS)


@pytest.mark.parametrize(
    ("known", "epoch", "election", "cluster", "act", "because"),
    [
        (state(2), 1, OFFLINE, None, Act.WAIT, Because.OLD_ROSTER),
        (state(1), 1, OFFLINE, 2, Act.WAIT, Because.OLD_ROSTER),
        (state(1, decided=A), 2, OFFLINE, None, Act.WAIT, Because.NOT_ADOPTED),
        (state(1, decided=A), 1, CLOUD, None, Act.WAIT, Because.NOT_ADOPTED),
        (state(1), 2, OFFLINE, 1, Act.STOP, Because.OLD_CLUSTER),
        (state(2, decided=A), 2, OFFLINE, 1, Act.STOP, Because.OLD_CLUSTER),
        (state(), 1, OFFLINE, 1, Act.WORK, Because.MEMBER),
        (state(decided=B), 1, OFFLINE, 1, Act.WORK, Because.MEMBER),
        (state(decided=A, init=Init.DONE), 1, OFFLINE, 1, Act.WORK, Because.MEMBER),
        (state(decided=A, init=Init.STARTED, wiped=True), 1, OFFLINE, 1, Act.WORK, Because.MEMBER),
        (state(decided=B), 1, OFFLINE, None, Act.JOIN, Because.DECIDED),
        (state(decided=A), 1, OFFLINE, None, Act.INITIALISE, Because.DECIDED),
        (state(decided=A, init=Init.STARTED), 1, OFFLINE, None, Act.INITIALISE, Because.DECIDED),
        (state(decided=A, init=Init.STARTED), 1, OFFLINE, 1, Act.INITIALISE, Because.DECIDED),
        (state(decided=A, init=Init.DONE), 1, OFFLINE, None, Act.JOIN, Because.WIPED),
        (state(decided=A, init=Init.STARTED, wiped=True), 1, OFFLINE, None, Act.JOIN, Because.WIPED),
        (msgspec.structs.replace(FORGOT, decided=A), 1, OFFLINE, None, Act.JOIN, Because.NO_MEMORY),
        (FORGOT, 1, OFFLINE, None, Act.LISTEN, Because.NO_VOTE),
        (state(), 1, OFFLINE, None, Act.VOTE, Because.UNDECIDED),
        (acceptor.adopt(BORN, 1, OFFLINE, []), 1, OFFLINE, None, Act.WAIT, Because.VOTERS),
        (CLOUDY, 1, CLOUD, None, Act.ASK_CLOUD, Because.UNDECIDED),
        (acceptor.adopt(acceptor.without_memory(0), 1, CLOUD, []), 1, CLOUD, None, Act.LISTEN, Because.NO_MEMORY),
        (BORN, 1, CLOUD, None, Act.WAIT, Because.NOT_ADOPTED),
    ],
)
def test_the_table_of_decisions(
    known: AcceptorState, epoch: int, election: Election, cluster: int | None, act: Act, because: Because
) -> None:
    found = decide(Facts(known, me(A), epoch, election, cluster))
    assert (found.act, found.because) == (act, because)
    assert found.again == (act is Act.INITIALISE and known.init is Init.STARTED)


def test_a_node_that_is_no_voter_only_listens() -> None:
    assert decide(Facts(state(), me(D), 1, OFFLINE)).act is Act.LISTEN


@pytest.mark.parametrize("seeds", [range(100), range(100, 200), range(200, 300)])
def test_sites_in_bad_times(seeds: range) -> None:
    for seed in seeds:
        play(seed)
