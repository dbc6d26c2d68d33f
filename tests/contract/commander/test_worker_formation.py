"""Workers in the simulated site: they join what the servers made, and count for nothing before or after."""

from __future__ import annotations

import pytest

from agents.contracts.siblings import Stage
from edge_commander.distribution.port import ClusterMember
from edge_commander.formation.plan import leaving
from edge_commander.formation.record import Part
from edge_commander.reasons import NOTHING, Reason, Why
from tests.fakes.formation_world import Disk, World

SERVERS = ("n0", "n1", "n2")
WORKERS = ("n3", "n4")


async def formed(seed: int = 0) -> World:
    world = World(3, seed, workers=2)
    await world.round(30)
    assert world.formed(), [node.reason for node in world.nodes.values()]
    return world


async def test_workers_join_in_turn_and_hold_no_secrets() -> None:
    world = await formed()
    for name in WORKERS:
        disk = world.disks[name]
        assert (disk.record.part, disk.record.stage, disk.secrets) == (Part.WORKER, Stage.MEMBER, None)
        assert world.nodes[name].settled == 1 and world.nodes[name].former.offered() is None
    assert world.clusters[1].most_joining == 1 and world.clusters[1].inits[0] in SERVERS


async def test_two_workers_beside_one_server_make_no_majority() -> None:
    world = World(3, workers=2)
    world.off = {"n1", "n2"}
    await world.round(10)
    assert world.nodes["n0"].reason == Reason(Why.SIBLINGS, "1 of 3 answer, 2 are needed")
    assert world.nodes["n3"].reason.why is Why.FIRST and not world.clusters


async def test_a_worker_waits_for_its_clock() -> None:
    world = await formed()
    world.disks["n3"].wipe_var()
    wrong = Reason(Why.CLOCK, "earlier than it can be")
    for _ in range(5):
        await world.nodes["n3"].turn(wrong)
    assert world.nodes["n3"].reason == wrong


@pytest.mark.parametrize("name", WORKERS)
async def test_a_wiped_worker_joins_again_and_its_ghost_goes_first(name: str) -> None:
    world = await formed()
    world.disks[name].wipe_var()
    await world.round(20)
    assert world.formed() and world.disks[name].record.part is Part.WORKER


async def test_a_worker_that_left_the_roster_is_taken_out_and_its_successor_joins_by_the_same_name() -> None:
    world = await formed()
    left, world.workers = world.workers[0], world.workers[1:]
    world.off.add("n3")
    world.now += 100.0
    await world.round(25)
    assert "nuc-n3" not in world.clusters[1].members and len(world.clusters[1].members) == 4
    world.workers = (*world.workers, left)
    world.disks["n3"], world.off = Disk(), set()
    world.nodes["n3"].restart()
    await world.round(20)
    assert world.formed() and world.disks["n3"].record.part is Part.WORKER


async def test_a_worker_goes_by_another_server_when_its_own_is_gone() -> None:
    world = await formed()
    door = world.doors["n3"]
    first = next(one.node for one in world.roster if one.address == door)
    world.off = {first}
    await world.round(8)
    assert world.doors["n3"] != door and world.nodes["n3"].reason == NOTHING
    assert world.disks["n3"].record.stage is Stage.MEMBER


async def test_a_worker_that_the_roster_makes_a_server_is_wiped_first() -> None:
    world = await formed()
    promoted = world.workers[0]
    world.roster, world.workers = (*world.roster, promoted), world.workers[1:]
    world.nodes["n3"].restart()
    await world.round(3)
    assert world.nodes["n3"].reason.why is Why.WIPE
    world.disks["n3"].wipe_var()
    await world.round(25)
    assert world.formed() and world.disks["n3"].record.part is Part.JOIN and world.disks["n3"].secrets is not None


async def test_a_server_that_the_roster_makes_a_worker_touches_nothing_until_it_is_wiped() -> None:
    world = await formed()
    demoted = world.roster[2]
    world.roster, world.workers = world.roster[:2], (*world.workers, demoted)
    world.nodes["n2"].restart()
    await world.round(3)
    assert world.nodes["n2"].reason.why is Why.WIPE
    world.disks["n2"].wipe_var()
    await world.round(25)
    assert world.formed() and world.disks["n2"].record.part is Part.WORKER and world.disks["n2"].secrets is None


async def test_an_older_cluster_is_left_alone_until_the_worker_is_wiped() -> None:
    world = await formed()
    world.epoch = 2
    await world.round(3)
    assert world.nodes["n3"].reason.why is Why.WIPE
    assert world.disks["n3"].record.stage is Stage.MEMBER and world.disks["n3"].record.epoch == 1
    assert 2 not in world.clusters or "nuc-n3" not in world.clusters[2].members


def test_a_worker_of_the_roster_is_never_taken_out_and_one_that_left_is() -> None:
    members = [ClusterMember(name=name, ready=True, server=name != "w") for name in ("a", "b", "c", "w")]
    assert leaving("a", ["a", "b", "c", "w"], members) is None
    assert leaving("a", ["a", "b", "c"], members) == "w"
    assert leaving("b", ["a", "b", "c"], members) is None
    assert leaving("w", ["a", "b", "c"], members) is None


@pytest.mark.parametrize("seed", range(150))
async def test_cuts_at_random_never_make_a_worker_more_than_it_is(seed: int) -> None:
    world = World(3, seed, workers=2)
    world.chance = 0.04
    for _ in range(40):
        what, name = world.random.random(), world.random.choice(world.names)
        if what < 0.1:
            world.off.add(name)
        elif what < 0.2:
            world.cut.add(frozenset(world.random.sample(world.names, 2)))
        elif what < 0.4:
            world.off.discard(name)
            world.cut.clear()
        elif what < 0.45 and name in WORKERS:
            world.disks[name].wipe_var()
        await world.round()
        world.check()
        assert all(world.disks[one].secrets is None for one in WORKERS)
        assert all(world.disks[one].record.part in (None, Part.WORKER) for one in WORKERS)
    world.off, world.cut, world.chance = set(), set(), 0.0
    await world.round(60)
    assert world.formed(), [node.reason for node in world.nodes.values()]
