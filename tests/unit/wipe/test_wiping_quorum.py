"""The quorum rule, whole: every site of up to five, every member up or down, servers and workers."""

from __future__ import annotations

from itertools import product

import pytest

from edge_commander.distribution.port import ClusterMember
from edge_commander.wiping.quorum import cost


def member(number: int, ready: bool, server: bool = True) -> ClusterMember:
    return ClusterMember(name=f"nuc-{number}", ready=ready, server=server)


@pytest.mark.parametrize("count", range(1, 6))
def test_a_server_goes_only_where_every_other_is_up_and_a_majority_stays(count: int) -> None:
    for ready in product((False, True), repeat=count):
        members = [member(number, up) for number, up in enumerate(ready, 1)]
        others = ready[1:]
        majority_stays = sum(others) >= count // 2 + 1
        assert (cost("nuc-1", members) == "") == (all(others) and majority_stays), ready


def test_two_servers_can_spare_none_and_three_one() -> None:
    assert "1 of 2 servers would be left, 2 are a majority" in cost("nuc-1", [member(1, True), member(2, True)])
    assert cost("nuc-1", [member(n, True) for n in (1, 2, 3)]) == ""
    assert cost("nuc-1", [member(1, False), member(2, True), member(3, True)]) == ""  # it is the one that is down


def test_a_worker_and_a_stranger_never_cost_a_quorum_and_a_worker_that_is_down_counts() -> None:
    servers = [member(n, n != 3) for n in (1, 2, 3)]
    assert cost("nuc-9", [*servers, member(9, True, server=False)]) == ""
    assert cost("nuc-8", servers) == ""
    assert cost("nuc-1", [member(1, True), member(2, True), member(3, True), member(9, False, server=False)]) == (
        "nuc-9 is down"
    )


def test_the_only_server_goes_with_a_rebuild_alone() -> None:
    assert "rebuild" in cost("nuc-1", [member(1, True), member(9, True, server=False)])
