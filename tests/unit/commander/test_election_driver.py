"""Electors on a LAN of virtual time: how soon, with whom down, cut off, fenced, without a vote, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.contracts.codec import decode
from agents.contracts.election import ElectionAnswer
from agents.contracts.identity import Election
from edge_commander.election.driver import Got
from tests.fakes.election_lan import NODES, Lan

A, B, C, D, E = NODES


@pytest.mark.parametrize("seed", range(20))
async def test_three_that_come_up_together_agree_within_five_seconds(tmp_path: Path, seed: int) -> None:
    lan = Lan(tmp_path, seed)
    lan.start(A, B, C)
    found, seconds = await lan.run(A, B, C)
    assert {one.got for one in found.values()} == {Got.DECIDED}
    assert len({one.node for one in found.values()}) == 1
    assert seconds < 5


@pytest.mark.parametrize("slow", [0.02, 0.3])
async def test_two_of_three_are_enough_and_the_third_learns(tmp_path: Path, slow: float) -> None:
    lan = Lan(tmp_path, 7)
    lan.slow = slow
    lan.start(A, B)
    found, seconds = await lan.run(A, B)
    assert len({one.node for one in found.values()}) == 1 and seconds < 5
    lan.start(C)
    later, seconds = await lan.run(C)
    assert later[C].node == found[A].node and seconds < 1


async def test_one_silent_voter_holds_up_nobody(tmp_path: Path) -> None:
    """The third takes the connection and never answers."""
    lan = Lan(tmp_path, 3)
    lan.start(A, B, C)
    lan.cut = {frozenset((A, C)), frozenset((B, C))}
    found, seconds = await lan.run(A, B)
    assert found[A].got is Got.DECIDED and seconds < 5


async def test_without_a_majority_it_waits_and_names_who_is_missing(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A)
    found, seconds = await lan.run(A, seconds=4)
    assert (found[A].got, found[A].silent) == (Got.WAITING, (B, C))
    assert 2 < seconds < 5 and lan.boxes[A].state.promised is None
    lan.start(B)
    assert (await lan.run(A))[0][A].got is Got.DECIDED


async def test_five_with_two_down_and_one_alone(tmp_path: Path) -> None:
    lan = Lan(tmp_path, 5, count=5)
    lan.start(A, B, C)
    found, seconds = await lan.run(A, B, C)
    assert len({one.node for one in found.values()}) == 1 and seconds < 5
    lone = Lan(tmp_path / "..", 5, count=1)
    lone.folder = tmp_path / "lone"
    lone.folder.mkdir()
    lone.start(A)
    assert (await lone.run(A))[0][A].node == A


async def test_a_later_epoch_at_a_sibling_ends_it(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A)
    lan.start(B, epoch=2)
    found, _ = await lan.run(A)
    assert (found[A].got, found[A].epoch) == (Got.FENCED, 2)
    assert lan.boxes[A].state.decided is None


async def test_a_roster_that_comes_in_between_ends_the_old_election(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A, B, C)
    asks = 0
    answer = lan.boxes[A].answer

    def counting(*arguments: object) -> ElectionAnswer:
        nonlocal asks
        asks += 1
        if asks == 2:  # its own vote in the second phase
            lan.boxes[A].adopt(2, Election.OFFLINE, [])
        return answer(*arguments)  # type: ignore[arg-type]

    lan.boxes[A].answer = counting  # type: ignore[method-assign]
    found, _ = await lan.run(A)
    assert found[A].got in (Got.FENCED, Got.NOTHING)
    assert (lan.boxes[A].state.epoch, lan.boxes[A].state.decided) == (2, None)


async def test_a_box_without_memory_learns_and_never_votes(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    (tmp_path / C).mkdir()  # it has keys, and no ballot box
    lan.start(A, C)
    found, _ = await lan.run(A, C, seconds=3)
    assert {one.got for one in found.values()} == {Got.WAITING}
    lan.start(B)
    found, _ = await lan.run(A, B, C)
    assert {one.node for one in found.values()} in ({A}, {B})
    assert lan.boxes[C].state.promised is None


async def test_where_the_cloud_decides_or_no_voters_are_fixed_nothing_is_asked(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A, election=Election.CLOUD)
    assert (await lan.run(A))[0][A].got is Got.NOTHING
    lan.count = 0
    lan.start(B)
    assert (await lan.run(B))[0][B].got is Got.NOTHING
    assert lan.asked == 0


async def test_a_decided_election_costs_nothing(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A, B, C)
    await lan.run(A, B, C)
    before = lan.asked
    found, seconds = await lan.run(A, B, C)
    assert (lan.asked, seconds) == (before, pytest.approx(0, abs=0.05)) and found[A].got is Got.DECIDED


async def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A)
    status, body = await lan.electors[A].serve(B, b'{"kind":"overthrow"}')
    assert status == 400 and b"kind" in body
    status, body = await lan.electors[A].serve(
        B, b'{"kind":"query","site":"x","epoch":1,"voters":"' + b"0" * 64 + b'"}'
    )
    assert status == 200 and decode(body, ElectionAnswer).verdict.value == "mismatch"


@pytest.mark.parametrize("seed", range(10))
async def test_who_has_no_snapshot_votes_and_is_never_the_one_that_begins(tmp_path: Path, seed: int) -> None:
    lan = Lan(tmp_path, seed)
    lan.start(A, B, C)
    found, seconds = await lan.run(A, B, C, only_votes=(A, C))
    assert {one.node for one in found.values()} == {B} and seconds < 5


async def test_where_all_only_vote_nobody_is_decided_on(tmp_path: Path) -> None:
    lan = Lan(tmp_path)
    lan.start(A, B, C)
    found, _ = await lan.run(A, B, C, seconds=4, only_votes=(A, B, C))
    assert {one.got for one in found.values()} == {Got.WAITING}
    assert all(lan.boxes[node].state.promised is None for node in (A, B, C))
