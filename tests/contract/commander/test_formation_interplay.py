"""Where parts of formation meet: what one leaves behind must not stop another for ever."""

from __future__ import annotations

import msgspec
import pytest

from agents.contracts.siblings import Stage
from edge_commander.distribution.port import Snapshot
from edge_commander.formation.record import Part
from edge_commander.reasons import NOTHING, Why
from tests.fakes.formation_world import World


async def formed(seed: int = 0, *, workers: int = 0) -> World:
    world = World(3, seed, workers=workers)
    await world.round(40)
    assert world.formed(), [node.reason for node in world.nodes.values()]
    return world


def wipe(world: World, *names: str) -> None:
    for name in names:
        world.disks[name].wipe_var()
        world.nodes[name].restart()


@pytest.mark.parametrize("seed", range(10))
async def test_what_was_wiped_amid_a_rebuild_goes_on_in_an_epoch_that_is_not_restored(seed: int) -> None:
    """The snapshot was unfit, so operators order an empty cluster: what a node noted as an older cluster's data
    went with the wipe that it asks for."""
    world = await formed(seed)
    for name in world.names:
        world.disks[name].snapshots = [Snapshot(path=f"/keep/{name}", site="store-1", epoch=1, taken=7, revision=9)]
    world.unfit_restore = True
    world.epoch, world.restore = 2, {2}
    await world.round(60)
    assert any(disk.record.older for disk in world.disks.values()), "some only waited for the first"
    world.epoch = 3
    await world.round(5)
    assert {node.reason.why for node in world.nodes.values()} == {Why.WIPE}
    wipe(world, *world.names)
    await world.round(60)
    assert world.formed(), [node.reason for node in world.nodes.values()]
