"""Where parts of formation meet: what one leaves behind must not stop another for ever."""

from __future__ import annotations

import msgspec
import pytest

from agents.contracts.siblings import Stage
from edge_commander.distribution.port import Snapshot
from edge_commander.formation.record import Part, Record
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


async def test_a_worker_stops_its_part_in_an_older_cluster() -> None:
    world = await formed(workers=1)
    world.epoch = 2
    await world.round(4)
    assert world.nodes["n3"].reason.why is Why.WIPE and not world.disks["n3"].runs


@pytest.mark.parametrize("seed", range(10))
async def test_a_worker_that_was_wiped_joins_the_next_epochs_cluster(seed: int) -> None:
    world = await formed(seed, workers=2)
    world.epoch = 2
    await world.round(4)
    wipe(world, *world.names)
    await world.round(80)
    assert world.formed(), [node.reason for node in world.nodes.values()]
    assert world.disks["n3"].record.part is Part.WORKER


async def test_a_server_that_was_made_a_worker_amid_a_rebuild_waits_for_its_wipe() -> None:
    world = await formed()
    disk = world.disks["n2"]
    disk.record = Record(epoch=2, stage=Stage.DECIDED, part=Part.JOIN, restore=True, older=1)
    world.epoch, world.restore = 2, {2}
    world.roster, world.workers = world.roster[:2], world.roster[2:]
    world.nodes["n2"].restart()
    for _ in range(4):
        await world.nodes["n2"].turn()
    assert world.nodes["n2"].reason.why is Why.WIPE and disk.began is not None and disk.secrets is not None


async def test_a_worker_goes_by_another_server_where_the_roster_names_no_addresses() -> None:
    """Where they are is known by what was reached: siblings were found by mDNS."""
    world = await formed(workers=1)
    door = world.doors["n3"]
    first = next(one.node for one in world.roster if one.address == door)
    world.reached = {one.node: one.address for one in world.roster}
    world.roster = tuple(msgspec.structs.replace(one, address="") for one in world.roster)
    world.off = {first}
    await world.round(8)
    assert world.doors["n3"] != door and world.nodes["n3"].reason == NOTHING


async def test_a_join_that_a_crash_cut_is_not_said_to_run_by_secrets_that_came_after_it() -> None:
    """The root half ended it and the commander did not hear; what is whole there, another join leaves as it is."""
    world = await formed()
    name = next(one for one in world.names if world.disks[one].record.part is Part.JOIN)
    disk, node = world.disks[name], world.nodes[name]
    assert disk.secrets is not None
    disk.record = msgspec.structs.replace(disk.record, stage=Stage.STARTED)
    disk.secrets = msgspec.structs.replace(disk.secrets, generation=3)
    node.restart()
    for _ in range(3):
        await node.turn()
    assert disk.record.stage is Stage.MEMBER and node.ran == [1], "it renews by the third in its turn"


@pytest.mark.parametrize(
    ("holder", "restored", "looks"),
    [("nuc-n0", False, True), ("nuc-n1", False, False), ("", True, True), ("", False, False)],
)
async def test_what_is_left_of_an_upgrade_whose_order_is_gone_is_put_back(
    holder: str, restored: bool, looks: bool
) -> None:
    """Its operator's key was retired, or the cluster is of a snapshot: no order stands, and the turn is held still."""
    world = await formed()
    world.disks["n0"].record = msgspec.structs.replace(world.disks["n0"].record, restore=restored)
    world.upgrading = holder
    world.nodes["n0"].restart()
    await world.round(4)
    assert bool(world.nodes["n0"].roller.looks) is looks
