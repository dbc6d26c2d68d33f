"""Rotations lived in one process: cut at each point, and at random with partitions, wipes and lost power."""

from __future__ import annotations

import msgspec
import pytest

from agents.core.errors import Retryable
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rotation.plan import Life, Turn
from edge_commander.secrets.rotation import digest
from edge_commander.secrets.store import Draft
from tests.fakes.rotation_world import OVERLAP_MS, ROUND_SECONDS, World

ROUNDS = 300
"""Enough for three generations, their turns and the overlap."""


async def test_one_order_makes_one_rotation_and_ends_it() -> None:
    world = World()
    before = world.disks["n0"].secrets
    world.rotate()
    await world.round(ROUNDS)
    after = world.disks["n0"].secrets
    assert world.settled(4) and before is not None and after is not None
    assert (after.generation, after.order) == (4, 1)
    assert after.token != before.token and after.service_account_key != before.service_account_key
    assert after.lasting == before.lasting
    assert world.renewals.count("n0") == world.renewals.count("n1") == world.renewals.count("n2") == 3
    await world.round(ROUNDS)
    assert len(world.renewals) == 9, "the same order is not carried out twice"
    assert {node.reason for node in world.nodes.values()} == {NOTHING}


async def test_the_old_key_is_accepted_for_the_whole_overlap() -> None:
    world = World()
    world.rotate()
    while not all(d.running is not None and d.running.service_account_old for d in world.disks.values()):
        await world.round()
    signs = world.now
    while 4 not in world.made:
        await world.round()
    assert world.now - signs >= OVERLAP_MS / 1000 - ROUND_SECONDS


async def test_what_only_a_wiped_box_had_is_made_anew_under_another_number() -> None:
    world = World()
    world.rotate()
    while world.lease.turn.generation < 2:
        await world.round()
    lost = world.lease.turn.digest
    while world.disks["n0"].secrets is None or world.disks["n0"].secrets.generation < 2:
        await world.nodes["n0"].turn()
        world.now += ROUND_SECONDS
    for name in ("n1", "n2"):
        held = world.disks[name].secrets
        assert held is not None and held.generation == 1, "nobody was given it yet"
    world.wipe("n0")
    await world.round(ROUNDS)
    assert world.settled(5) and world.made[2] == {lost}


async def test_an_order_for_a_generation_that_is_there_does_nothing() -> None:
    world = World()
    world.rotate(generation=1)
    await world.round(60)
    assert world.settled(1) and not world.renewals


def test_the_points_of_a_rotation_are_what_is_walked() -> None:
    assert POINTS > 100


def _points() -> int:
    import asyncio

    async def lived() -> int:
        world = World()
        world.rotate()
        await world.round(ROUNDS)
        return world.points

    return asyncio.run(lived())


POINTS = _points()


@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_power_that_fails_at_any_point_changes_nothing_in_the_end(point: int) -> None:
    world = World()
    world.rotate()
    world.crash_at = point
    await world.round(ROUNDS + 100)
    assert world.settled(4), [node.reason for node in world.nodes.values()]


@pytest.mark.parametrize("seed", range(100))
async def test_cuts_partitions_and_wiped_boxes_at_random(seed: int) -> None:
    world = World(3 if seed % 3 else 5, seed)
    world.rotate()
    world.chance = 0.03
    for step in range(60):
        what, name = world.random.random(), world.random.choice(world.names)
        if what < 0.1:
            world.off.add(name)
        elif what < 0.2:
            world.cut.add(frozenset(world.random.sample(world.names, 2)))
        elif what < 0.45:
            world.off.clear()
            world.cut.clear()
        elif what < 0.5 and all(map(world.well, world.names)):
            world.wipe(name)
        if step == 30:
            world.rotate(number=2)
        await world.round(2)
    world.off, world.cut, world.chance = set(), set(), 0.0
    await world.round(2 * ROUNDS)
    assert world.settled(4), [node.reason for node in world.nodes.values()]
    last = world.disks["n0"].secrets
    assert last is not None and last.order == 2 and {digest(last)} == world.made[last.generation]


async def test_one_that_does_not_come_back_stops_the_rest() -> None:
    world = World()
    world.rotate()
    while "n0" not in world.renewals:
        await world.round()
    world.off.add("n0")
    done = len(world.renewals)
    await world.round(60)
    assert len(world.renewals) <= done + 1, "at most the one that had begun"
    waiting = [world.nodes[name].reason for name in ("n1", "n2") if world.disks[name].progress.runs < 2]
    assert waiting and all(reason.why is Why.TURN and "nuc-n0" in reason.detail for reason in waiting)
    world.off.clear()
    await world.round(ROUNDS)
    assert world.settled(4)


async def test_nothing_is_made_or_renewed_by_a_wrong_clock() -> None:
    world = World()
    world.rotate()
    clock = Reason(Why.CLOCK)
    for _ in range(30):
        for node in world.nodes.values():
            await node.turn(clock)
        world.now += ROUND_SECONDS
    assert not world.renewals and set(world.made) == {1}
    assert {node.reason.why for node in world.nodes.values()} == {Why.CLOCK}


@pytest.mark.parametrize("seed", range(20))
async def test_certificates_that_end_together_are_renewed_one_after_another(seed: int) -> None:
    world = World(3, seed)
    world.lives = {name: Life(-3_000_000, 1_000) for name in world.names}
    world.chance = 0.02
    await world.round(200)
    assert set(world.renewals) == set(world.names)


async def test_certificates_are_renewed_at_two_thirds_of_their_life_one_server_at_a_time() -> None:
    world = World()
    world.lives = {name: Life(0, 3_000_000) for name in world.names}
    await world.round(500)
    assert not world.renewals, "1500 s of 3000"

    await world.round(2000 // 3)
    assert sorted(world.renewals) == world.names
    assert world.settled(1), "no secret changed"


@pytest.mark.parametrize(("seconds", "renewed"), [(2200, []), (2700, ["n0", "n1"])])
async def test_a_dead_sibling_keeps_no_certificate_from_being_renewed_before_it_ends(
    seconds: float, renewed: list[str]
) -> None:
    world = World()
    world.off.add("n2")
    world.now = seconds
    world.lives = {name: Life(0, 3_000_000) for name in world.names}
    await world.round(100)
    assert sorted(set(world.renewals)) == renewed


async def test_a_disk_or_an_api_that_does_not_answer_is_waited_for() -> None:
    world = World()
    world.rotate()
    world.off.update({"n1", "n2"})
    await world.round(5)
    assert world.nodes["n0"].reason == Reason(Why.TURN, "rotation: tries again")
    with pytest.raises(Retryable):
        await world.nodes["n0"].rotor._p.lease.read()
    world.off.clear()
    await world.round(ROUNDS)
    assert world.settled(4)


async def test_nothing_is_made_or_renewed_while_a_node_is_upgraded() -> None:
    world = World()
    world.rotate()
    world.upgrading = "nuc-n1"
    await world.round(30)
    assert not world.renewals and set(world.made) == {1} and world.lease.turn.holder == ""
    assert world.nodes["n0"].reason == Reason(Why.TURN, "rotation: nuc-n1 is upgraded")
    world.upgrading = ""
    await world.round(ROUNDS)
    assert world.settled(4)


async def test_an_upgrade_that_began_as_the_turn_was_taken_goes_first() -> None:
    world = World()
    world.rotate()

    async def upgrading() -> str:
        return "nuc-n1" if world.lease.turn.holder else ""

    for node in world.nodes.values():
        object.__setattr__(node.rotor._p, "upgrading", upgrading)
    await world.round(30)
    assert 2 in world.made and not world.renewals and world.lease.turn.holder == ""


async def test_a_draft_of_an_older_epoch_that_a_restored_lease_knows_stops_no_rotation() -> None:
    """The snapshot was taken between the word in the Lease and the first who took it up."""
    world = World()
    first = world.disks["n0"].secrets
    assert first is not None
    drafted = msgspec.structs.replace(first, epoch=0, generation=2)
    world.disks["n0"].draft = Draft(base=1, secrets=drafted)
    world.lease.turn = Turn("", 0, 2, digest(drafted))
    world.rotate()
    await world.round(ROUNDS)
    assert world.settled(4), [node.reason for node in world.nodes.values()]


async def test_a_turn_to_be_upgraded_of_a_node_that_is_no_more_stops_no_rotation() -> None:
    world = World()
    world.upgrading = "nuc-gone"
    world.rotate()
    await world.round(ROUNDS)
    assert world.settled(4), [node.reason for node in world.nodes.values()]
