"""An older cluster that stops, a site rebuilt from a snapshot, and an old disk that begins nothing; cut anywhere."""

from __future__ import annotations

import copy

import pytest

from agents.contracts.siblings import FormationStatus, Stage
from agents.core.errors import Rejected
from edge_commander.distribution.port import Snapshot
from edge_commander.formation import rebuild
from edge_commander.formation import record as records
from edge_commander.formation.record import Happening, IllegalStep, Part, Record
from edge_commander.reasons import NOTHING, Why
from tests.fakes.formation_world import World, secrets_of


def saved(revision: int, epoch: int = 1, **more: object) -> Snapshot:
    return Snapshot(**{"path": f"/keep/{epoch}.{revision}", "site": "store-1", "epoch": epoch, "taken": 7,
                       "revision": revision, **more})  # fmt: skip


async def formed(count: int = 3, seed: int = 0) -> World:
    world = World(count, seed)
    await world.round(40)
    assert world.formed()
    for number, name in enumerate(world.names):
        world.disks[name].snapshots = [saved(100 + number)]
    return world


def order(world: World, *, restore: bool) -> None:
    world.epoch += 1
    if restore:
        world.restore.add(world.epoch)


def lose(world: World, *names: str) -> None:
    """Dead for good: blank boxes stand in their place, with nothing on any disk."""
    for name in names:
        world.disks[name] = type(world.disks[name])()
        world.nodes[name].restart()


async def test_without_a_word_to_restore_it_stops_and_touches_nothing() -> None:
    world = await formed()
    before = {name: (disk.record, disk.secrets, disk.began) for name, disk in world.disks.items()}
    order(world, restore=False)
    await world.round(10)
    assert {node.reason.why for node in world.nodes.values()} == {Why.WIPE}
    assert not any(disk.runs for disk in world.disks.values())
    assert {name: (disk.record, disk.secrets, disk.began) for name, disk in world.disks.items()} == before
    assert world.grants.keys() == {1}


@pytest.mark.parametrize("seed", range(20))
async def test_nodes_that_were_wiped_meanwhile_go_on_in_the_new_epoch(seed: int) -> None:
    """In any order, also the one that began the older cluster."""
    world = await formed(seed=seed)
    order(world, restore=False)
    await world.round(5)
    for disk in world.disks.values():
        disk.wipe_var()
    for node in world.nodes.values():
        node.restart()
    await world.round(60)
    assert world.formed() and not world.cluster(2).restored


async def test_one_damaged_file_on_var_makes_no_wiped_node_of_an_older_member() -> None:
    world = await formed()
    order(world, restore=False)
    world.disks["n0"].copy = None
    world.nodes["n0"].restart()
    await world.round(10)
    assert world.nodes["n0"].reason.why is Why.WIPE and world.disks["n0"].began is not None


async def test_the_survivor_restores_its_newest_and_new_boxes_join() -> None:
    world = await formed()
    world.disks["n0"].snapshots = [saved(9), saved(12), saved(11)]
    lose(world, "n1", "n2")
    order(world, restore=True)
    await world.round(60)
    assert world.formed() and all(node.reason == NOTHING for node in world.nodes.values())
    assert world.cluster(2).restored == {"/keep/1.12"} and set(world.cluster(2).inits) == {"n0"}
    assert [one.revision for one in world.disks["n0"].snapshots] == [9, 12, 11], "it deletes none"
    assert world.nodes["n0"].settled == 2, "access by the new cluster's authorities"


async def test_of_two_survivors_the_one_with_the_newer_snapshot_begins() -> None:
    world = await formed()
    lose(world, "n1")
    order(world, restore=True)
    await world.round(60)
    assert world.formed() and world.grants[2] == "n2" and world.cluster(2).restored == {"/keep/1.102"}


async def test_a_node_with_the_newer_snapshot_that_cannot_go_on_is_waited_for_a_while_only() -> None:
    world = await formed()
    order(world, restore=True)
    world.stuck.add("n2")  # its old cluster does not stop
    await world.round(30)
    assert 2 not in world.grants
    await world.round(40)
    assert world.grants[2] == "n1" and world.cluster(2).restored == {"/keep/1.101"}


async def test_no_snapshot_no_cluster_and_the_old_data_stay() -> None:
    world = await formed()
    for disk in world.disks.values():
        disk.snapshots = [saved(5, site="store-2"), saved(6, epoch=2)]
    order(world, restore=True)
    await world.round(100)
    assert 2 not in world.grants and not world.cluster(2).inits
    assert all(disk.began is not None and not disk.runs for disk in world.disks.values())
    assert {node.reason.why for node in world.nodes.values()} == {Why.DECISION}
    assert all("no node that answers has a snapshot" in node.reason.detail for node in world.nodes.values())


async def test_the_others_keep_their_old_data_until_the_new_cluster_stands() -> None:
    world = await formed()
    order(world, restore=True)
    world.unfit_restore = True
    await world.round(60)
    assert world.grants[2] == "n2" and world.disks["n2"].began is None
    assert world.disks["n0"].began is not None and world.disks["n1"].began is not None
    world.unfit_restore = False
    await world.round(100)
    assert world.formed()


async def test_a_snapshot_that_has_to_keep_its_secrets_keeps_them_in_the_new_epoch() -> None:
    world = await formed()
    lose(world, "n1", "n2")
    kept = secrets_of("store-1", 1, 77)
    world.disks["n0"].snapshots = [saved(3, secrets=kept)]
    order(world, restore=True)
    await world.round(60)
    assert world.formed() and set(world.cluster(2).members.values()) == {77}
    assert world.disks["n0"].secrets == secrets_of("store-1", 2, 77)


async def test_a_restored_site_can_be_restored_again_and_an_older_order_is_over() -> None:
    world = await formed()
    order(world, restore=True)
    await world.round(60)
    assert world.formed()
    for name in world.names:
        world.disks[name].snapshots.append(saved(500, epoch=2))
    order(world, restore=True)
    await world.round(80)
    assert world.formed() and world.cluster(3).restored == {"/keep/2.500"}


async def test_an_order_that_comes_while_another_is_carried_out_waits_for_a_word_of_its_own() -> None:
    world = await formed()
    order(world, restore=True)
    world.unfit_restore = True
    await world.round(40)
    order(world, restore=False)  # n0 and n1 hold data of epoch 1, decided on epoch 2
    await world.round(20)
    assert world.nodes["n0"].reason.why is Why.WIPE and "epoch 1 is over" in world.nodes["n0"].reason.detail
    assert world.disks["n0"].began == ("join", 1) or world.disks["n0"].began == ("init", 1)
    world.unfit_restore = False
    order(world, restore=True)
    await world.round(100)
    assert world.formed() and world.epoch == 4


async def test_cut_at_every_point_a_rebuild_ends_as_if_it_had_not_been() -> None:
    base = await formed()
    lose(base, "n1")
    order(base, restore=True)
    await base.round(60)
    total = base.points
    at = (await formed()).points
    assert total - at > 20
    for point in range(at + 1, total + 1):
        world = await formed()
        lose(world, "n1")
        order(world, restore=True)
        world.crash_at = point
        await world.round(90)
        assert world.formed(), f"cut at point {point}: {[node.reason for node in world.nodes.values()]}"
        assert set(world.cluster(2).inits) == {world.grants[2]} and len(world.cluster(2).restored) == 1
        assert all(disk.snapshots for name, disk in world.disks.items() if name != "n1")


async def test_the_first_servers_whole_disk_from_before_it_began_begins_nothing() -> None:
    """Switched on among boxes that never joined, while all that did are off."""
    world = World(5)
    before = None
    while not world.clusters.get(1) or not world.clusters[1].inits:
        first = world.grants.get(1)
        if first is not None and world.disks[first].secrets is not None and not world.disks[first].lives:
            before = copy.deepcopy(world.disks[first])
        await world.round()
    assert before is not None and before.record.part is Part.INIT
    first = world.grants[1]
    others = [name for name in world.names if name != first]
    world.disks[first] = before
    for name in others:
        world.disks[name] = type(world.disks[name])()
    for node in world.nodes.values():
        node.restart()
    await world.round(20)
    assert world.clusters[1].inits == [first]
    assert world.disks[first].record.part is Part.JOIN and world.disks[first].secrets is None
    assert "it may only join" in world.nodes[first].reason.text
    assert all(world.disks[name].secrets is None for name in others), "nobody was given what it had made"


async def test_where_the_endpoint_is_not_asked_that_disk_would_begin_a_second_one() -> None:
    """The same, decided offline: what stands in the way is a TPM's counter alone. The documents say so."""
    world = World(3)
    world.offline = True
    await world.round(40)
    first = world.grants[1]
    for name in world.names:
        world.disks[name] = type(world.disks[name])()
        world.nodes[name].restart()
    world.disks[first].record = Record(epoch=1, stage=Stage.DECIDED, part=Part.INIT, initialiser=first)
    with pytest.raises(AssertionError, match="members with different authorities"):
        await world.round(20)
    assert world.clusters[1].inits == [first, first]


def told(node: str, snapshot: str, epoch: int = 2) -> FormationStatus:
    return FormationStatus(node=node, epoch=epoch, stage=Stage.NONE, snapshot=snapshot)


OLD, NEW = (rebuild.mark([saved(n)], "store-1", 2) for n in (9, 10))


@pytest.mark.parametrize(
    "own, known, there, waited, why",
    [
        (NEW, {"a": told("a", OLD)}, {"a"}, 5.0, ""),
        (NEW, {"a": told("a", "-")}, {"a"}, 5.0, ""),
        (NEW, {"a": told("a", NEW)}, {"a"}, 5.0, ""),
        (OLD, {"a": told("a", NEW)}, {"a"}, 5.0, "a has a newer snapshot and goes first"),
        (OLD, {"a": told("a", NEW)}, {"a"}, 200.0, ""),
        (OLD, {"a": told("a", "")}, {"a"}, 5.0, "a has not said yet which snapshot it has"),
        (OLD, {}, {"a"}, 5.0, "a has not said yet which snapshot it has"),
        (OLD, {}, {"a"}, 200.0, ""),
        ("-", {"a": told("a", OLD)}, {"a"}, 200.0, "no snapshot lies here: a node that has one begins"),
        ("-", {}, {"a"}, 200.0, "no snapshot lies here: a node that has one begins"),
        ("-", {"a": told("a", "-")}, {"a"}, 200.0, "no node that answers has a snapshot"),
    ],
)
def test_who_asks_to_begin(
    own: str, known: dict[str, FormationStatus], there: set[str], waited: float, why: str
) -> None:
    found = rebuild.why_not(own, known, there, waited)
    assert found.startswith(why) and bool(found) is bool(why)


def test_marks_sort_as_snapshots_do_and_a_wrong_clock_makes_none_the_newest() -> None:
    ascending = [saved(9, taken=2**33), saved(10, taken=0), saved(10, taken=5), saved(1, epoch=2)]
    marks = [rebuild.mark([one], "store-1", 3) for one in ascending]
    assert marks == sorted(marks) and marks[0] > rebuild.NONE
    assert rebuild.newest(ascending, "store-1", 3) == ascending[-1]
    assert rebuild.newest(ascending, "store-1", 2) == ascending[2]
    for site, epoch in (("store-2", 3), ("store-1", 1)):
        with pytest.raises(Rejected, match="no whole snapshot"):
            rebuild.newest(ascending, site, epoch)


@pytest.mark.parametrize(
    "taken, wait", [(None, 0.0), (1000, 100.0), (900, 0.0), (850, 0.0), (1060, 160.0), (5000, 0.0)]
)
def test_when_the_next_snapshot_is_due(taken: int | None, wait: float) -> None:
    assert rebuild.until_due(taken, 1000, 100.0) == wait


def test_what_an_older_cluster_left_is_known_until_it_is_cleared() -> None:
    member = Record(epoch=1, stage=Stage.MEMBER, part=Part.JOIN, initialiser="a")
    new = records.decided(member, epoch=2, initialiser="b", may_begin=False, restore=True)
    assert (new.older, new.restore) == (1, True)
    again = records.decided(new, epoch=3, initialiser="b", may_begin=True)
    assert (again.older, again.restore) == (1, False)
    assert records.happened(new, Happening.CLEARED).older == 0
    with pytest.raises(IllegalStep):
        records.happened(member, Happening.CLEARED)
