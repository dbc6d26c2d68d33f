"""Nodes that are told to join anew, in one process: cut at each point, and at random; never two away at once."""

from __future__ import annotations

import asyncio

import pytest

from agents.contracts.command import Verb
from agents.contracts.siblings import Stage
from edge_commander.formation.record import Part
from tests.fakes.acts_world import ActsWorld, command

ROUNDS = 60


async def told(name: str = "n1", *, workers: int = 0, seed: int = 0) -> ActsWorld:
    site = ActsWorld(3, seed, workers=workers)
    await site.form()
    site.boxes[name].command = command(Verb.REJOIN)
    return site


@pytest.mark.parametrize("name", ["n0", "n1", "n2"])
async def test_a_server_leaves_and_is_a_member_again_by_another_join(name: str) -> None:
    site = await told(name)
    await site.round(ROUNDS)
    box = site.boxes[name]
    assert [one.result for one in box.answers] == ["done"], box.answers
    assert site.clean and site.shared.most_away == 1
    assert site.world.disks[name].record.part is Part.JOIN and site.world.disks[name].record.left == f"{1:032x}"
    assert site.shared.pods[box.me] == 0, "pods were asked to go first"
    assert len(site.world.cluster(1).inits) == 1


async def test_a_worker_leaves_and_comes_back_as_a_worker() -> None:
    site = await told("n3", workers=1)
    await site.round(ROUNDS)
    assert [one.result for one in site.boxes["n3"].answers] == ["done"], site.boxes["n3"].answers
    assert site.clean and site.world.disks["n3"].record.part is Part.WORKER


def _points() -> int:
    async def lived() -> int:
        site = await told()
        await site.round(ROUNDS)
        return site.world.points

    return asyncio.run(lived())


POINTS = _points()


def test_the_points_of_a_rejoin_are_what_is_walked() -> None:
    assert POINTS > 25


@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_power_that_fails_at_any_point_changes_nothing_in_the_end(point: int) -> None:
    site = await told()
    site.world.crash_at = point
    await site.round(ROUNDS + 20)
    answers = site.boxes["n1"].answers
    assert [one.result for one in answers] == ["done"], answers
    assert site.clean and site.world.disks["n1"].record.left == f"{1:032x}"


@pytest.mark.parametrize("seed", range(40))
async def test_all_are_told_at_once_and_the_power_fails_at_random(seed: int) -> None:
    site = ActsWorld(3, seed)
    await site.form()
    for number, name in enumerate(site.servers):
        site.boxes[name].command = command(Verb.REJOIN, number + 1)
    site.world.chance = 0.05
    await site.round(ROUNDS)
    site.world.chance = 0.0
    await site.round(ROUNDS)
    results = [[one.result for one in box.answers] for box in site.boxes.values()]
    assert all(len(one) == 1 for one in results) and ["done"] in results, results
    assert site.clean


async def test_pods_that_do_not_go_stop_nothing_for_longer_than_they_are_given() -> None:
    site = await told()
    site.shared.stuck = True
    await site.round(5)
    assert site.world.disks["n1"].record.stage is Stage.MEMBER, "their time is not over"
    await site.round(ROUNDS)
    assert [one.result for one in site.boxes["n1"].answers] == ["done"] and site.clean


async def test_it_is_refused_while_a_sibling_is_down_and_while_one_is_upgraded() -> None:
    site = await told()
    site.world.disks["n2"].began = None
    await site.boxes["n1"].turn()
    assert [one.result for one in site.boxes["n1"].answers] == ["refused"]
    assert site.boxes["n1"].answers[0].detail == "nuc-n2 is down"

    other = await told()
    other.world.upgrading = "nuc-n0"
    await other.round(2)
    assert [one.detail for one in other.boxes["n1"].answers] == ["nuc-n0 is upgraded"]
    assert other.clean


async def test_a_sibling_that_goes_down_while_the_pods_go_ends_it_before_anything_was_taken_off() -> None:
    site = await told()
    site.shared.stuck = True
    await site.round(3)
    assert site.shared.marked == {"nuc-n1"}
    site.world.disks["n2"].began = None
    await site.boxes["n1"].turn()
    answer = site.boxes["n1"].answers[0]
    assert answer.result == "failed" and answer.detail.startswith("nothing was taken off: ")
    assert not site.shared.marked and site.shared.leaving == ("", "")
    assert site.world.disks["n1"].began is not None


async def test_the_only_server_of_a_site_cannot_join_anew() -> None:
    site = ActsWorld(1)
    await site.form()
    site.boxes["n0"].command = command(Verb.REJOIN)
    await site.round(2)
    assert [one.result for one in site.boxes["n0"].answers] == ["refused"]
    assert "no other server" in site.boxes["n0"].answers[0].detail


async def test_one_that_cannot_join_again_is_answered_in_the_end_and_goes_on() -> None:
    site = await told()
    site.world.unfit.add("nuc-n1")
    await site.round(40)
    assert site.world.disks["n1"].record.left and not site.boxes["n1"].answers
    site.world.now += 1800.0
    await site.round(2)
    assert [one.result for one in site.boxes["n1"].answers] == ["failed"]
    assert "is not a Ready member again yet" in site.boxes["n1"].answers[0].detail
    site.world.unfit.clear()
    site.world.now += 100.0
    await site.round(ROUNDS)
    assert site.clean
