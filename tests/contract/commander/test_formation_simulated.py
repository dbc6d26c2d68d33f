"""Formation lived at random in one process: a thousand sites, cut, parted, robbed of disks, and never two clusters."""

from __future__ import annotations

import pytest

from agents.contracts.siblings import Stage
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
