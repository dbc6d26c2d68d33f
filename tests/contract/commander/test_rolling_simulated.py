"""An ordered upgrade lived in one process, with a crash at every point: never two nodes away at once, and none after
the first that does not come back."""

from __future__ import annotations

import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.formation.slot import Held
from edge_commander.reasons import NOTHING, Why
from edge_commander.rolling.plan import LOST_SECONDS, MAX_TRIES
from tests.fakes.rolling_world import NEW, NEXT, OLD, World


async def finished(world: World, version: str = NEW, rounds: int = 200) -> None:
    for _ in range(rounds):
        await world.round()
        if world.versions == [version] * len(world.names) and world.clean:
            return
    raise AssertionError((world.versions, world.lease, world.boxes, world.reasons()))


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_one_node_after_another_and_nothing_is_left_behind(count: int) -> None:
    world = World(count)
    world.command(10)
    await finished(world)
    assert world.most_away == 1
    assert all(box.upgrades == [NEW] and not box.cordoned for box in world.boxes.values())
    await world.round(3)
    before = world.points
    await world.round(20)
    assert world.points == before, "once it is done nothing is asked any more"
    assert all(one == NOTHING for one in world.reasons().values())


async def test_every_point_may_be_the_last_of_a_process() -> None:
    at = 0
    while True:
        at += 1
        world = World(3, seed=at)
        world.command(10)
        world.crash_at = at
        await finished(world)
        if not world.crashes:
            break
    assert at > 60, "the walk has points"


@pytest.mark.parametrize("seed", range(300))
async def test_crashes_at_random_never_take_two_away(seed: int) -> None:
    world = World(3 if seed % 2 else 5, seed)
    world.command(10)
    world.chance = 0.06
    await world.round(80)
    world.chance = 0.0
    await world.round(30)
    if world.lease.stopped:  # too many crashes of one node
        world.command(11)
    await finished(world)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("fault", [Retryable, Rejected])
async def test_a_node_whose_upgrade_fails_stops_the_rest_until_it_is_ordered_anew(
    seed: int, fault: type[Exception]
) -> None:
    world = World(3, seed)
    bad = world.boxes["nuc-2"]
    bad.fails = fault
    world.command(10)
    await world.round(150)
    stopped_after = world.versions
    assert world.lease.stopped == "nuc-2" and bad.version == OLD and world.clean and not bad.cordoned
    assert world.lease.tries <= MAX_TRIES
    for name, box in world.boxes.items():
        reason = world.reasons()[name]
        assert (reason.why is Why.STOPPED and "nuc-2" in reason.detail) or (box.version == NEW and reason == NOTHING)
    await world.round(50)
    assert world.versions == stopped_after, "nobody goes on by itself"
    bad.fails = None
    await world.round(50)
    assert world.versions == stopped_after
    world.command(11)
    await finished(world)


@pytest.mark.parametrize("seed", range(10))
async def test_a_node_that_does_not_come_back_stops_the_rest(seed: int) -> None:
    world = World(3, seed)
    dead = world.boxes["nuc-3"]
    dead.dies = True
    world.command(10)
    await world.round(60)
    left = world.versions
    assert dead.dead and not world.lease.stopped
    world.command(11)
    await world.round(40)
    assert world.versions == left, "not even by a newer order, while it is away"
    world.now += LOST_SECONDS
    await world.round(5)
    assert world.lease.stopped == "nuc-3" or left == [NEW, NEW, OLD], "who still waits says so"
    assert world.versions == left
    dead.dies = dead.dead = False  # it was swapped, and joined anew
    dead.ready, dead.cordoned, dead.marked, dead.version = True, False, False, OLD
    world.command(12)
    await finished(world)


async def test_that_it_did_not_come_back_is_said() -> None:
    world = World(3)
    world.boxes["nuc-1"].dies = True
    world.boxes["nuc-2"].has.discard(NEW)
    world.command(10)
    while not world.boxes["nuc-1"].dead:
        await world.round()
    world.boxes["nuc-2"].has.add(NEW)
    await world.round(3)
    world.now += LOST_SECONDS
    await world.round(5)
    assert world.lease.stopped == "nuc-1" and "did not come back" in world.lease.why


async def test_what_a_person_cordoned_stays_cordoned() -> None:
    world = World(3)
    world.boxes["nuc-1"].cordoned = True
    world.command(10)
    await finished(world)
    assert [box.cordoned for box in world.boxes.values()] == [True, False, False]


@pytest.mark.parametrize("go_on", [True, False])
async def test_pods_that_do_not_go_in_time_stop_it_or_not_by_policy(go_on: bool) -> None:
    world = World(3, go_on=go_on)
    world.boxes["nuc-2"].stuck = True
    world.command(10)
    if go_on:
        await finished(world)
        return
    await world.round(150)
    assert world.lease.stopped == "nuc-2" and "shop/till-0" in world.lease.why
    assert world.boxes["nuc-2"].version == OLD and world.clean


async def test_nothing_begins_while_a_node_is_missing_not_ready_or_joining() -> None:
    world = World(3)
    world.command(10)
    for hold in ("unready", "joining", "missing"):
        box = world.boxes["nuc-3"]
        if hold == "unready":
            box.ready = False
        elif hold == "joining":
            box.ready, world.joiner = False, Held("nuc-3", 4)
        else:
            box.ready, world.joiner = True, Held()
            away = world.boxes.pop("nuc-3")
            world.names.remove("nuc-3")
        await world.round(20)
        assert world.lease == world.lease.__class__() and set(world.versions) == {OLD}
        assert {world.reasons()[name].why for name in ("nuc-1", "nuc-2")} == {Why.WHOLE}
    world.boxes["nuc-3"] = away
    world.names.append("nuc-3")
    await finished(world)


async def test_a_join_ends_an_upgrade_that_has_failed_once() -> None:
    """The joiner waits for the turn to end, and the turn for every node to be Ready: one has to give way."""
    world = World(3)
    bad = world.boxes["nuc-1"]
    bad.fails = Retryable
    world.boxes["nuc-2"].has.discard(NEW)
    world.boxes["nuc-3"].has.discard(NEW)
    world.command(10)
    while not world.lease.tries:
        await world.round()
    world.boxes["nuc-3"].ready, world.joiner = False, Held("nuc-3", 4)
    bad.cordoned = bad.marked = False  # two that are away at once are this test's doing
    await world.round(10)
    assert not world.lease.holder and "nuc-3 has to join first" in world.lease.why
    world.boxes["nuc-3"].ready, bad.fails = True, None
    for box in world.boxes.values():
        box.has.add(NEW)
    world.command(11)
    await finished(world)


async def test_a_node_without_the_version_waits_and_keeps_nobody_else() -> None:
    world = World(3)
    world.boxes["nuc-1"].has.discard(NEW)
    world.command(10)
    await world.round(100)
    assert world.versions == [OLD, NEW, NEW] and world.reasons()["nuc-1"].why is Why.VERSION
    world.boxes["nuc-1"].has.add(NEW)
    await finished(world)


async def test_no_order_takes_a_version_back_or_skips_one() -> None:
    world = World(3)
    world.command(10)
    await finished(world)
    for number, version, text in ((11, OLD, "does not go back"), (12, "1.38.0", "skipped"), (13, "2.0.0", "skipped")):
        world.command(number, version)
        await world.round(10)
        assert world.versions == [NEW] * 3 and world.clean
        assert all(one.why is Why.STOPPED and text in one.detail for one in world.reasons().values())


@pytest.mark.parametrize("seed", range(20))
async def test_a_newer_order_meanwhile_is_what_counts(seed: int) -> None:
    world = World(3, seed)
    world.command(10)
    await world.round(world.random.randrange(20))
    world.command(11, NEXT)
    await finished(world, NEXT)


async def test_the_walk_finds_a_lease_that_is_not_compared_and_set() -> None:
    """Two that look at the same moment: without the comparison both would go."""
    import asyncio

    async def race(cas: bool) -> int:
        world = World(3, cas=cas)
        world.command(10)
        await asyncio.gather(*(process.turn() for process in world.nodes.values()))
        return world.rev

    assert await race(cas=True) == 1
    assert await race(cas=False) > 1


async def test_a_node_that_renews_its_own_certificates_is_not_upgraded_meanwhile() -> None:
    """Its root half does one thing at a time: the tries would go by, and stop the order."""
    world = World()
    world.renewing = "nuc-1"
    world.command(10)
    await world.round(40)
    assert not world.lease.stopped, world.lease
    world.renewing = ""
    await finished(world)
