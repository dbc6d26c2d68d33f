"""Formation lived at random in one process: a thousand sites, cut, parted, robbed of disks, and never two clusters."""

from __future__ import annotations

import pytest

from agents.contracts.siblings import Stage
from edge_commander.distribution.port import Snapshot
from edge_commander.formation.record import Part
from edge_commander.reasons import Why
from tests.fakes.formation_world import World


@pytest.mark.parametrize("seed", range(1000))
async def test_cuts_partitions_and_lost_disks_at_random_never_make_two(seed: int) -> None:
    world = World(3 if seed % 3 else 5, seed)
    world.chance = 0.04
    for _ in range(40):
        what = world.random.random()
        name = world.random.choice(world.names)
        if what < 0.1:
            world.off.add(name)
        elif what < 0.2:
            world.cut.add(frozenset(world.random.sample(world.names, 2)))
        elif what < 0.25:
            world.cloud = not world.cloud
        elif what < 0.4:
            world.off.discard(name)
            world.cut.clear()
        elif what < 0.43 and len(world.cluster(1).members) > 1:
            world.disks[name].wipe_var()
        await world.round()
        world.check()
    world.off, world.cut, world.cloud, world.chance = set(), set(), True, 0.0
    stands = not world.cluster(1).inits or any(
        disk.secrets is not None and (disk.record.stage is Stage.MEMBER or disk.record.part is Part.INIT)
        for disk in world.disks.values()
    )
    await world.round(80)
    world.check()
    if stands:
        assert world.formed(), [node.reason for node in world.nodes.values()]
    elif not world.formed():  # every member's disk was lost: only a new epoch helps, and all say what they miss
        assert {node.reason.why for node in world.nodes.values()} <= {Why.SECRETS, Why.FIRST}


@pytest.mark.parametrize("seed", range(300))
async def test_a_site_rebuilt_among_cuts_partitions_and_lost_boxes_is_never_two_and_never_empty(seed: int) -> None:
    """As many boxes die for good as may; the order to restore comes while others are off, cut off or crash."""
    world = World(3 if seed % 3 else 5, seed)
    await world.round(60)
    assert world.formed()
    for name in world.names:
        found = [Snapshot(f"/keep/{name}.{n}", "store-1", 1, n, n) for n in world.random.sample(range(9), 2)]
        world.disks[name].snapshots = found if world.random.random() < 0.7 else []
    for name in world.random.sample(world.names, world.random.randrange(len(world.names))):
        world.disks[name] = type(world.disks[name])()
        world.nodes[name].restart()
    world.epoch, world.restore, world.chance = 2, {2}, 0.04
    have = {name: max((one.revision for one in disk.snapshots), default=-1) for name, disk in world.disks.items()}
    for _ in range(40):
        what, name = world.random.random(), world.random.choice(world.names)
        if what < 0.1:
            world.off.add(name)
        elif what < 0.2:
            world.cut.add(frozenset(world.random.sample(world.names, 2)))
        elif what < 0.25:
            world.cloud = not world.cloud
        elif what < 0.4:
            world.off.discard(name)
            world.cut.clear()
        await world.round()
    world.off, world.cut, world.cloud, world.chance = set(), set(), True, 0.0
    await world.round(200)
    if max(have.values()) < 0:
        assert 2 not in world.grants and not world.cluster(2).inits
        return
    assert world.formed(), [node.reason for node in world.nodes.values()]
    first = world.grants[2]
    assert world.cluster(2).restored == {f"/keep/{first}.{have[first]}"}
    assert all(disk.record.older == 0 and disk.began is not None for disk in world.disks.values())
