"""Servers that are told to renew their own certificates, in one process: in turn, and cut at each point."""

from __future__ import annotations

import asyncio

import pytest

from agents.contracts.command import Command, Verb
from edge_commander.acts.rotate import Rotates
from edge_commander.reasons import Reason
from edge_commander.rotation.plan import Life
from edge_commander.verbs import Outcome
from tests.fakes.acts_world import DiskStore, command
from tests.fakes.formation_world import Crash
from tests.fakes.rotation_world import World

ROUNDS = 80


class Told:
    """A server with its command in hand, across crashes."""

    def __init__(self, world: World, name: str, told: Command) -> None:
        self.world, self.name, self.command = world, name, told
        self.store = DiskStore()
        self.store.world = world  # type: ignore[assignment]
        self.answers: list[Outcome] = []
        self.why_no_server = ""
        self.start()

    def start(self) -> None:
        self.rotor = self.world.nodes[self.name].rotor
        self.rotates = Rotates(self, self.store, self.world)  # type: ignore[arg-type]

    async def certificates(self) -> Life | None:
        return await self.rotor.life(self.world.site(self.name))

    def renew(self, begin: int | None) -> Reason:
        self.rotor.want(begin)
        return self.rotor.reason

    def renew_leaf(self) -> None:
        self.world.point()

    async def turn(self) -> None:
        if self.world.nodes[self.name].rotor is not self.rotor:
            self.start()
        if self.answers:
            return
        try:
            found = await self.rotates.execute(self.command)
            self.world.point()
        except Crash:
            await self.rotor.aclose()
            self.world.nodes[self.name].restart()
            self.start()
            return
        if found is not None:
            self.answers.append(found)


async def lived(
    *names: str, crash_at: int | None = None, seed: int = 0, chance: float = 0.0
) -> tuple[World, list[Told]]:
    world = World(3, seed)
    world.lives = {name: Life(-1, 10**12) for name in world.names}
    told = [Told(world, name, command(Verb.ROTATE, number)) for number, name in enumerate(names, 1)]
    world.crash_at, world.chance = crash_at, chance
    for _ in range(ROUNDS):
        for one in told:
            await one.turn()
        await world.round()
    return world, told


async def test_all_at_once_renew_one_after_another_and_once_each() -> None:
    world, told = await lived("n0", "n1", "n2")
    assert [one.answers[0].result for one in told] == ["done"] * 3
    assert sorted(world.renewals) == ["n0", "n1", "n2"], "the world checks that no two do at once"
    assert world.settled(1) and not world.lease.turn.holder, "no secret changed, and the turn is free"


async def test_only_the_one_that_is_told_renews() -> None:
    world, told = await lived("n1")
    assert world.renewals == ["n1"] and [one.result for one in told[0].answers] == ["done"]


POINTS = asyncio.run(lived("n1"))[0].points


def test_the_points_are_what_is_walked() -> None:
    assert POINTS > 10


@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_power_that_fails_at_any_point_ends_in_one_answer(point: int) -> None:
    world, told = await lived("n1", crash_at=point)
    assert [one.result for one in told[0].answers] == ["done"], world.nodes["n1"].reason
    assert 1 <= len(world.renewals) <= 2 and world.settled(1)


@pytest.mark.parametrize("seed", range(10))
async def test_power_that_fails_at_random_while_all_are_told(seed: int) -> None:
    world, told = await lived("n0", "n1", "n2", seed=seed, chance=0.02)
    assert all(len(one.answers) == 1 for one in told) and world.lives["n0"].begin > 0


async def test_a_server_that_is_down_keeps_the_others_from_it_and_is_named() -> None:
    world = World(3)
    world.lives = {name: Life(-1, 10**12) for name in world.names}
    told = Told(world, "n0", command(Verb.ROTATE))
    world.off.add("n2")
    for _ in range(30):
        await told.turn()
        await world.round()
    assert not world.renewals and not told.answers
    world.now += 1800.0
    await told.turn()
    assert told.answers[0].result == "failed" and "nuc-n2" in told.answers[0].detail
