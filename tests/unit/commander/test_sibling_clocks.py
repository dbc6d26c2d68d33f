"""Siblings as witnesses of the clock, where the endpoint cannot be asked: the rule, and formation under it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.core.errors import Retryable
from edge_commander.formation.witness import by_siblings
from edge_commander.reasons import NOTHING, Why
from edge_commander.siblings.client import OutOfTime
from edge_commander.timekeeper import TOLERANCE_MS
from tests.fakes.formation_world import Node, Talk, World

YEAR = 365 * 24 * 3600 * 1000
FAR = TOLERANCE_MS + 1


@pytest.mark.parametrize(
    ("told", "others", "waits"),
    [
        ({}, 2, False),
        ({"a": 0, "b": 1000}, 2, False),
        ({"a": TOLERANCE_MS, "b": -TOLERANCE_MS}, 2, False),
        ({"a": FAR, "b": -FAR}, 2, True),
        ({"a": None, "b": None}, 2, True),
        ({"a": None, "b": FAR}, 2, True),
        ({"a": None, "b": 0}, 2, False),  # one of two is the one that is wrong
        ({"a": None}, 2, False),  # the other is silent: one alone decides nothing
        ({"a": None}, 1, True),
        ({"a": None, "b": None}, 4, False),
        ({"a": None, "b": None, "c": -FAR}, 4, True),
    ],
)
def test_more_than_half_of_the_siblings_must_have_another_time(
    told: dict[str, int | None], others: int, waits: bool
) -> None:
    reason = by_siblings(told, others)
    assert (reason.why is Why.CLOCK) == waits and (reason == NOTHING) != waits


def clocks(world: World, ahead_ms: dict[str, int], *, day: bool) -> None:
    """Gives each node a clock. `day`: a certificate does not last as long as the clocks differ."""

    class Dated(Talk):
        async def status(self, member):  # type: ignore[no-untyped-def]
            answer = await super().status(member)
            if day and ahead_ms.get(self.name, 0) != ahead_ms.get(member.node, 0):
                raise OutOfTime("certificate has expired")
            return answer

    def fit(node: Node) -> None:
        parts, name = node.former._p, node.name
        node.former._p = replace(
            parts, siblings=Dated(world, name), confirmed=lambda: False,
            now_ms=lambda: 40 * YEAR + int(world.now * 1000) + ahead_ms.get(name, 0),
        )  # fmt: skip

    for node in world.nodes.values():
        fit(node)


@pytest.mark.parametrize(("ahead", "day"), [(10 * YEAR, True), (-30 * YEAR, True), (2 * FAR, False)])
async def test_a_node_whose_clock_differs_from_its_siblings_begins_nothing_and_holds_nobody_up(
    ahead: int, day: bool
) -> None:
    world = World(3, seed=4)
    wrong = {"n1": ahead}
    clocks(world, wrong, day=day)
    await world.round(20)
    assert world.nodes["n1"].reason.why is Why.CLOCK
    assert "n1" not in world.grants.values() and world.disks["n1"].secrets is None
    assert set(world.clusters[1].members) == {"nuc-n0", "nuc-n2"}
    wrong["n1"] = 0
    await world.round(20)
    assert world.formed()


async def test_a_worker_goes_by_the_servers_clocks() -> None:
    world = World(3, workers=1)
    wrong = {"n3": 10 * YEAR}
    clocks(world, wrong, day=True)
    await world.round(25)
    assert world.nodes["n3"].reason.why is Why.CLOCK and len(world.clusters[1].members) == 3
    wrong["n3"] = 0
    await world.round(20)
    assert world.formed()


async def test_what_the_endpoint_said_stands_above_what_siblings_say() -> None:
    world = World(3, seed=4)
    clocks(world, {"n1": 2 * FAR}, day=False)
    for node in world.nodes.values():
        node.former._p = replace(node.former._p, confirmed=lambda: True)
    await world.round(30)
    assert world.formed()


def test_a_certificate_out_of_its_time_is_a_thing_that_may_pass() -> None:
    assert issubclass(OutOfTime, Retryable)
