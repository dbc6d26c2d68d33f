"""10,000 sites in bad times: never two initialisers in an epoch, and a decision once a majority can talk."""

from __future__ import annotations

import pytest

from tests.fakes.election_mutants import MUTANTS
from tests.fakes.election_world import Broken, play

SEEDS = 10_000


def test_ten_thousand_seeds_have_no_second_initialiser_and_end_with_a_decision() -> None:
    epochs = decisions = clusters = 0
    for seed in range(SEEDS):
        world = play(seed)
        epochs += len(world.rosters)
        decisions += len(world.chosen)
        clusters += sum(map(len, world.founded.values()))
    # The bad times were bad (epochs were raised), and things happened in them.
    assert epochs > SEEDS * 1.2
    assert decisions > SEEDS * 0.9
    assert clusters > SEEDS * 0.9


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_found(mutant: str) -> None:
    with pytest.raises(Broken):
        for seed in range(SEEDS):
            play(seed, MUTANTS[mutant])
