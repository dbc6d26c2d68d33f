"""Who may be taken out, in which order, and what is left to do the second time."""

from __future__ import annotations

import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.removal import EtcdMember, Membership, is_ready, plan_removal
from edge_commander.distribution.k3s.steps import AskRemoval, DeleteObject, RemoveEtcdMember
from tests.fakes.k3s_kit import SETTINGS, plan
from tests.fakes.k3s_world import World, node

SECRET = "/api/v1/namespaces/kube-system/secrets/nuc-3.node-password.k3s"


def name(number: int) -> str:
    return f"nuc-{number}-0123abc{number}"


def cluster(*ready: bool, password: bool = True) -> Membership:
    numbers = range(1, len(ready) + 1)
    nodes = [node(f"nuc-{n}", ready=ready[n - 1], member=name(n)) for n in numbers]
    return Membership(nodes, [EtcdMember(str(n), name(n)) for n in numbers], password)


def test_etcd_then_node_then_password() -> None:
    steps = plan_removal("nuc-1", "nuc-3", cluster(True, True, False), SETTINGS)
    assert steps == [AskRemoval("nuc-3", 120.0), DeleteObject("/api/v1/nodes/nuc-3"), DeleteObject(SECRET)]


def test_one_that_is_not_there_leaves_nothing_to_do() -> None:
    assert plan_removal("nuc-1", "nuc-9", cluster(True, True, True, password=False), SETTINGS) == []


def test_what_is_left_after_a_crash() -> None:
    gone = Membership([node("nuc-1", member=name(1))], [EtcdMember("1", name(1))], True)
    assert plan_removal("nuc-1", "nuc-3", gone, SETTINGS) == [DeleteObject(SECRET)]
    asked = cluster(True, True, False)
    asked.nodes[2]["metadata"]["annotations"] = {reference.name("etcd-removed"): name(3)}
    half = Membership(asked.nodes, asked.etcd[:2], True)
    assert plan_removal("nuc-1", "nuc-3", half, SETTINGS) == [DeleteObject("/api/v1/nodes/nuc-3"), DeleteObject(SECRET)]


def test_a_ghost_in_etcd_without_a_node_goes_by_etcd() -> None:
    seen = cluster(True, True, True)
    ghost = Membership(seen.nodes[:2], seen.etcd, False)
    assert plan_removal("nuc-1", "nuc-3", ghost, SETTINGS) == [RemoveEtcdMember("3", name(3))]
    two = Membership(seen.nodes, [*seen.etcd, EtcdMember("9", "nuc-3-ffffffff", learner=True)], False)
    assert RemoveEtcdMember("9", "nuc-3-ffffffff") in plan_removal("nuc-1", "nuc-3", two, SETTINGS)


def test_a_name_that_begins_alike_is_another_node() -> None:
    seen = Membership(
        [node("nuc-1", member=name(1))], [EtcdMember("1", name(1)), EtcdMember("2", "nuc-3-b-0123abcd")], False
    )
    assert plan_removal("nuc-1", "nuc-3", seen, SETTINGS) == []


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        ((True,), "nuc-3 is not there"),
        ((True, False, True), r"quorum would be lost: 1 of the 2 other voters of etcd are Ready"),
        ((True, False, True, False, False), r"1 of the 4 other"),
        ((True, True, True, False, False), r"2 of the 4 other"),
        ((True, True, True, True, False), ""),
        ((True, True, False), ""),
        ((True, True, True), ""),
    ],
)
def test_the_quorum_stands_it_or_it_is_refused(ready: tuple[bool, ...], why: str) -> None:
    seen = cluster(*ready)
    if not why:
        assert plan_removal("nuc-1", "nuc-3", seen, SETTINGS)
    elif len(ready) > 1:
        with pytest.raises(Rejected, match=why):
            plan_removal("nuc-1", "nuc-3", seen, SETTINGS)


def test_the_only_voter_and_this_node_itself_stay() -> None:
    with pytest.raises(Rejected, match="nuc-1 is the only voter"):
        plan_removal("nuc-2", "nuc-1", cluster(True), SETTINGS)
    with pytest.raises(Rejected, match="nuc-1 is this node itself"):
        plan_removal("nuc-1", "nuc-1", cluster(True, True), SETTINGS)


def test_restored_from_a_snapshot_the_old_nodes_go_though_none_of_them_is_ready() -> None:
    """Nodes come back with a snapshot; etcd has one member then, and its quorum is not theirs."""
    seen = cluster(True, False, False)
    restored = Membership(seen.nodes, seen.etcd[:1], True)
    assert plan_removal("nuc-1", "nuc-3", restored, SETTINGS) == [
        DeleteObject("/api/v1/nodes/nuc-3"),
        DeleteObject(SECRET),
    ]


def test_a_learner_may_always_go() -> None:
    seen = cluster(True, False, False)
    learner = Membership(seen.nodes, [*seen.etcd[:2], EtcdMember("3", name(3), learner=True)], True)
    assert plan_removal("nuc-1", "nuc-3", learner, SETTINGS)[0] == AskRemoval("nuc-3", 120.0)


def test_ready_means_ready_in_the_version_and_no_learner() -> None:
    assert is_ready(node("n")) and is_ready(node("n", voter="True")) and is_ready(node("n"), "v1.33.1+k3s1")
    assert not is_ready(node("n", ready=False)) and not is_ready(node("n", voter="False"))
    assert not is_ready(node("n"), "v1.33.2+k3s1") and not is_ready({})
    assert is_ready(node("n", ready=False), network=False) and not is_ready(node("n", voter="False"), network=False)


async def member(world: World, number: int, *, ready: bool = True) -> None:
    world.nodes[f"nuc-{number}"] = node(f"nuc-{number}", ready=ready, member=name(number))
    world.members.append(EtcdMember(str(number), name(number)))


async def test_it_is_done(world: World) -> None:
    await world.k3s().init(plan())
    for number, ready in ((1, True), (2, True), (3, False)):
        await member(world, number, ready=ready)
    await world.k3s().remove("nuc-3")
    assert [one.name for one in world.members] == [name(1), name(2)] and set(world.nodes) == {"nuc-1", "nuc-2"}
    assert world.deleted == ["/api/v1/nodes/nuc-3", SECRET]
    await world.k3s().remove("nuc-3")
    assert world.deleted == ["/api/v1/nodes/nuc-3", SECRET]


async def test_k3s_that_does_not_obey_is_waited_for_so_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fakes.k3s_world import FakeEtcd

    await world.k3s().init(plan())
    for number in (1, 2, 3):
        await member(world, number)
    monkeypatch.setattr(FakeEtcd, "obey", lambda self, name: None)
    with pytest.raises(Retryable, match="k3s did not take the etcd member of nuc-3 out within 120 s"):
        await world.k3s().remove("nuc-3")
    assert world.deleted == []
