"""No node is upgraded while a Ready one is about to be wiped."""

from __future__ import annotations

from dataclasses import replace

from edge_commander.distribution.port import ClusterMember
from edge_commander.reasons import Reason, Why
from edge_commander.rolling.plan import Facts, Put, Turn, Wait, next_step

NAMES = ("nuc-1", "nuc-2", "nuc-3")
FACTS = Facts(
    me="nuc-1",
    number=10,
    version="1.36.3",
    expected=NAMES,
    members=[ClusterMember(name=name, ready=True, server=True, version="v1.36.2") for name in NAMES],
)


def test_its_turn_is_not_taken_and_is_given_back() -> None:
    assert isinstance(next_step(FACTS), Put)
    waits = next_step(replace(FACTS, wiping="nuc-2"))
    assert waits == Wait(Reason(Why.WHOLE, "nuc-2 is being wiped"))
    held = replace(FACTS, turn=Turn("nuc-1", 10))
    left = next_step(replace(held, wiping="nuc-2"))
    assert isinstance(left, Put) and left.turn.holder == ""
