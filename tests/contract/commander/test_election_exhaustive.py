"""Every state that three boxes with two proposers can reach: no two decisions in any; the walk sees broken rules."""

from __future__ import annotations

import pytest

from tests.fakes.election_mutants import MUTANTS
from tests.fakes.election_states import Explorer
from tests.fakes.election_world import Broken

WALKS = {
    "two ballots of one and one of another, all told": ((2, 1, 0), 0, True, 129_484),
    "one ballot each, and one box loses its memory": ((1, 1, 0), 1, True, 39_582),
    "one ballot each, and two boxes lose their memory": ((1, 1, 0), 2, False, 17_191),
}
"""Ballots of each box, losses of memory, whether decisions are told, and the number of states (found, then pinned: a
change of it is a change of the rules or of the walk, and someone should look)."""


@pytest.mark.parametrize("walk", WALKS)
def test_no_state_has_two_decisions(walk: str) -> None:
    ballots, losses, tell, states = WALKS[walk]
    assert Explorer(ballots, losses, tell=tell).explore() == states


@pytest.mark.parametrize(
    "mutant",
    [
        "an acceptor forgets its promise",
        "an acceptor does not tell its vote",
        "an acceptor takes a ballot below its promise",
        "a proposer ignores what was taken",
        "less than a majority decides",
        "a box without memory votes",
    ],
)
def test_a_broken_rule_is_found(mutant: str) -> None:
    losses = 1 if "memory" in mutant else 0
    with pytest.raises(Broken):
        Explorer((1 if losses else 2, 1, 0), losses, tell=False, rules=MUTANTS[mutant]).explore()
