"""Three boxes become one cluster: in any order, cut at any point, and never two."""

from __future__ import annotations

import pytest

from agents.contracts.siblings import Stage
from edge_commander.distribution.port import ClusterMember
from edge_commander.formation import plan as plans
from edge_commander.formation import record as records
from edge_commander.formation import slot
from edge_commander.formation.record import Happening, IllegalStep, Part, Record
from edge_commander.reasons import NOTHING, Reason, Why
from tests.fakes.formation_world import Crash, World, secrets_of, stages


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_boxes_become_one_cluster(count: int) -> None:
    world = World(count)
    await world.round(40)
    assert world.formed()
    assert len(world.clusters[1].inits) == 1
    assert all(node.reason == NOTHING for node in world.nodes.values())
    parts = sorted(str(disk.record.part) for disk in world.disks.values())
    assert parts == ["init"] + ["join"] * (count - 1)


async def test_a_lone_box_begins_nothing() -> None:
    world = World(3)
    world.off = {"n1", "n2"}
    await world.round(10)
    assert world.nodes["n0"].reason == Reason(Why.SIBLINGS, "1 of 3 answer, 2 are needed")
    assert world.clusters == {} and world.grants == {}
    world.off = {"n2"}
    await world.round(20)
    assert len(world.clusters[1].members) == 2
    world.off = set()
    await world.round(20)
    assert world.formed()


async def test_without_the_endpoint_it_says_so_and_goes_on_later() -> None:
    world = World(3)
    world.cloud = False
    await world.round(5)
    assert {node.reason.why for node in world.nodes.values()} == {Why.DECISION}
    world.cloud = True
    await world.round(30)
    assert world.formed()


async def test_a_wrong_clock_makes_no_certificate_but_takes_no_member_down() -> None:
    world = World(1)
    wrong = Reason(Why.CLOCK, "earlier than it can be")
    for _ in range(5):
        await world.nodes["n0"].turn(wrong)
    assert world.nodes["n0"].reason == wrong and world.disks["n0"].record == Record() and not world.disks["n0"].secrets
    await world.round(10)
    assert world.formed()
    await world.nodes["n0"].turn(wrong)
    assert world.nodes["n0"].reason == NOTHING


async def test_access_that_was_made_by_a_wrong_clock_is_made_again_by_a_right_one() -> None:
    world = World(1)
    await world.round(10)
    world.nodes["n0"].restart()
    wrong = Reason(Why.CLOCK, "earlier than it can be")
    for _ in range(4):
        await world.nodes["n0"].turn(wrong)
    assert world.nodes["n0"].settled == 1
    await world.round(4)
    assert world.nodes["n0"].settled == 2 and world.nodes["n0"].reason == NOTHING


async def points_of_a_formation(count: int) -> int:
    world = World(count)
    await world.round(40)
    return world.points


async def test_cut_at_every_point_it_ends_as_if_it_had_not_been() -> None:
    total = await points_of_a_formation(3)
    assert total > 20
    for point in range(1, total + 1):
        world = World(3)
        world.crash_at = point
        await world.round(60)
        assert world.formed(), f"cut at point {point}"
        assert len(set(world.clusters[1].inits)) == 1


async def test_who_lost_its_disk_may_only_join_and_its_ghost_goes_first() -> None:
    world = World(3)
    await world.round(40)
    first = world.grants[1]
    world.disks[first].wipe_var()
    await world.round(20)
    assert world.formed() and world.clusters[1].inits == [first]
    assert world.disks[first].record.part is Part.JOIN


@pytest.mark.parametrize("which", ["first", "other"])
async def test_a_member_whose_secrets_file_was_damaged_stays_one_and_gets_them_again(which: str) -> None:
    world = World(3)
    await world.round(40)
    name = next(one for one in world.names if (one == world.grants[1]) is (which == "first"))
    before, world.disks[name].secrets = world.disks[name].secrets, None
    world.nodes[name].restart()
    for _ in range(5):
        await world.round()
        assert world.disks[name].record.stage is Stage.MEMBER and len(world.clusters[1].members) == 3
    assert world.disks[name].secrets == before and world.nodes[name].reason == NOTHING


async def test_a_first_server_that_began_and_lost_but_its_secrets_file_takes_it_back_and_goes_on() -> None:
    world = World(3)
    while not world.clusters.get(1) or not world.clusters[1].inits:
        await world.round()
    first = world.grants[1]
    other = next(one for one in world.names if one != first)
    world.disks[other].secrets = world.disks[first].secrets
    world.disks[first].record = Record(epoch=1, stage=Stage.STARTED, part=Part.INIT, initialiser=first)
    world.disks[first].secrets = None
    world.nodes[first].restart()
    await world.round(30)
    assert world.formed() and set(world.clusters[1].inits) == {first}
    assert world.disks[first].record.part is Part.INIT


async def test_a_member_that_forgot_all_that_it_was_is_not_taken_out_while_it_is_well() -> None:
    world = World(3)
    await world.round(40)
    name = next(one for one in world.names if one != world.grants[1])
    world.disks[name].record, world.disks[name].copy = Record(), None
    world.nodes[name].restart()
    await world.round(20)
    assert len(world.clusters[1].members) == 3
    assert world.nodes[name].reason.why is Why.TURN and "Ready" in world.nodes[name].reason.text


async def test_an_old_copy_of_the_first_servers_disk_begins_no_second_cluster() -> None:
    world = World(3)
    await world.round(40)
    first = world.grants[1]
    world.disks[first].wipe_var()
    world.disks[first].record = Record(epoch=1, stage=Stage.DECIDED, part=Part.INIT, initialiser=first)
    world.nodes[first].restart()
    await world.round(20)
    assert world.clusters[1].inits == [first] and world.formed()


async def test_what_a_first_server_made_before_it_learnt_that_the_cluster_stands_is_thrown_away() -> None:
    world = World(3)
    await world.round(40)
    first = world.grants[1]
    world.disks[first].wipe_var()
    world.disks[first].record = Record(epoch=1, stage=Stage.DECIDED, part=Part.INIT, initialiser=first)
    world.disks[first].secrets = secrets_of("store-1", 1, 99)
    world.nodes[first].restart()
    world.off = {name for name in world.names if name != first}
    await world.round(5)
    assert world.nodes[first].reason.why is Why.SIBLINGS and world.clusters[1].inits == [first]
    world.off = set()
    await world.round(30)
    assert world.formed() and world.clusters[1].inits == [first]


async def test_a_first_server_that_lost_all_before_anybody_joined_waits_for_a_new_epoch() -> None:
    world = World(3)
    while not world.clusters.get(1) or not world.clusters[1].members:
        await world.round()
    first = world.grants[1]
    for disk in world.disks.values():
        disk.wipe_var()
    await world.round(20)
    assert world.clusters[1].inits == [first]
    assert {node.reason.why for node in world.nodes.values()} == {Why.SECRETS}
    world.epoch = 2
    await world.round(60)
    assert {disk.record.epoch for disk in world.disks.values()} == {2}
    assert len(set(world.clusters[2].inits)) == 1 and world.formed()


async def test_a_cluster_of_an_older_epoch_stands_still_until_it_is_wiped() -> None:
    world = World(3)
    await world.round(40)
    world.epoch = 2
    await world.round(10)
    assert {node.reason.why for node in world.nodes.values()} == {Why.WIPE}
    assert world.clusters.get(2) is None or not world.clusters[2].inits
    assert stages(world) == [Stage.MEMBER] * 3
    world.epoch = 1
    await world.round(5)
    assert all(node.reason == NOTHING for node in world.nodes.values())


async def test_an_older_roster_is_not_followed() -> None:
    world = World(3)
    world.epoch = 2
    await world.round(40)
    world.epoch = 1
    await world.round(5)
    assert {node.reason.why for node in world.nodes.values()} == {Why.EPOCH}
    assert not world.cluster(1).inits


async def test_joins_come_one_after_another_and_the_rest_are_told_whose_turn_it_is() -> None:
    world = World(5)
    told = set()
    for _ in range(60):
        await world.round()
        told |= {node.reason.text for node in world.nodes.values() if node.reason.why is Why.TURN}
    assert world.formed() and world.clusters[1].most_joining == 1
    assert told


@pytest.mark.parametrize("seed", range(6))
async def test_a_node_whose_join_always_fails_keeps_no_other_waiting_for_ever(seed: int) -> None:
    world = World(3, seed)
    while not world.clusters.get(1) or not world.clusters[1].members:
        await world.round()
    world.unfit = {f"nuc-{min(name for name in world.names if name != world.grants[1])}"}
    await world.round(700)  # 35 min
    assert len(world.clusters[1].members) == 2
    world.unfit = set()
    await world.round(400)
    assert world.formed() and world.clusters[1].most_joining == 1


def test_a_turn_that_was_taken_anew_is_another_one() -> None:
    seen = slot.observe(slot.Seen(), slot.Held("a", 1), 0.0)
    assert slot.observe(seen, slot.Held("a", 1), 50.0) == seen
    later = slot.observe(seen, slot.Held("a", 3), 2000.0)
    assert not slot.is_free(later, "b", [], 2001.0, waits=False)
    assert slot.is_free(later, "b", [], 2000.0 + slot.HOLD_SECONDS, waits=False)
    assert slot.is_free(later, "b", cluster_of("a"), 2001.0, waits=False)
    assert slot.is_free(later, "a", [], 2001.0, waits=True)
    assert not slot.is_free(later, "a", [], 2000.0 + slot.AGAIN_SECONDS, waits=True)
    assert slot.is_free(later, "a", [], 2000.0 + slot.AGAIN_SECONDS, waits=False)


def test_what_the_table_does_not_list_is_a_bug() -> None:
    with pytest.raises(IllegalStep):
        records.happened(Record(), Happening.STARTED)
    begun = records.decided(Record(), epoch=2, initialiser="a", may_begin=True)
    with pytest.raises(IllegalStep):
        records.decided(begun, epoch=2, initialiser="b", may_begin=False)
    with pytest.raises(IllegalStep):
        records.decided(begun, epoch=1, initialiser="a", may_begin=True)
    member = records.happened(records.happened(begun, Happening.STARTED), Happening.MEMBER)
    assert records.happened(member, Happening.EMPTIED).part is Part.JOIN


def test_a_crash_is_no_expected_error() -> None:
    assert not issubclass(Crash, Exception)


def cluster_of(*names: str, dead: tuple[str, ...] = ()) -> list[ClusterMember]:
    return [ClusterMember(name=name, ready=name not in dead, server=True) for name in names]


def test_who_left_the_roster_is_taken_out_by_one_node_alone() -> None:
    members = cluster_of("a", "b", "c")
    assert plans.leaving("a", ["a", "b"], members) == "c"
    assert plans.leaving("b", ["a", "b"], members) is None
    assert plans.leaving("b", ["a", "b", "d"], cluster_of("a", "b", "c", dead=("a",))) == "c"
    assert plans.leaving("a", ["a", "b", "c"], members) is None


@pytest.mark.parametrize("count", [3, 5, 7])
def test_a_roster_that_shrinks_under_a_cluster_does_not_take_it_apart(count: int) -> None:
    names = [f"n{i}" for i in range(count)]
    members = cluster_of(*names)
    for _ in range(count):  # all at once: the roster names one
        assert plans.leaving("n0", ["n0"], members) is None
    left, roster = list(names), list(names)
    for _ in range(count * 2):  # one after another
        roster = roster[:-1] or roster
        if (gone := plans.leaving("n0", roster, cluster_of(*left))) is not None:
            left.remove(gone)
    assert len(left) >= 2


async def test_a_newcomer_is_not_taken_out_by_who_has_not_heard_of_it_yet() -> None:
    world = World(4)
    old = (1, world.roster[:3])
    world.rosters, world.off = dict.fromkeys(world.names, old), {"n3"}
    await world.round(60)
    assert len(world.clusters[1].members) == 3
    world.rosters, world.off = {"n0": old}, set()
    await world.round(60)  # 3 min: n0 looks several times
    assert "nuc-n3" in world.clusters[1].members
    world.rosters = {}
    await world.round(60)
    assert world.formed()


async def test_who_left_is_taken_out_only_while_all_that_stay_answer() -> None:
    world = World(3)
    await world.round(60)
    world.disks["n2"].wipe_var()
    world.off, world.cut = {"n2"}, {frozenset({"n0", "n1"})}
    world.rosters = dict.fromkeys(("n0", "n1"), (3, world.roster[:2]))
    await world.round(60)
    assert len(world.clusters[1].members) == 3
    world.cut = set()
    await world.round(60)
    assert sorted(world.clusters[1].members) == ["nuc-n0", "nuc-n1"]


async def test_a_member_whose_api_server_is_down_keeps_nobody_out() -> None:
    world = World(3)
    world.off = {"n2"}
    await world.round(60)
    world.off, world.mute = set(), {"n0"}
    await world.round(30)
    assert len(world.clusters[1].members) == 3


async def test_where_the_first_server_left_before_it_began_they_say_that_only_a_new_epoch_helps() -> None:
    world = World(3)
    world.grants[1] = "n2"  # its box died when it had just been granted the epoch
    world.off = {"n2"}
    await world.round(5)
    assert {world.nodes[name].reason.detail for name in ("n0", "n1")} == {
        "no sibling that answers has the site's secrets yet"
    }
    world.rosters = dict.fromkeys(("n0", "n1"), (3, world.roster[:2]))
    await world.round(5)
    assert all("only the next epoch helps" in world.nodes[name].reason.text for name in ("n0", "n1"))
    assert world.clusters == {} or not world.clusters[1].inits
