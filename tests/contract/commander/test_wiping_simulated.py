"""The wipe of a node walked from the command to the answer: a crash at every point there is, and at random ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.command import Verb
from agents.contracts.messages import NodeState
from tests.fakes.wiping_world import ME, World

WHOLE: dict[str, dict[str, Any]] = {
    "whole": {},
    "pods that stay, messages that nobody takes": {"stuck": True, "deaf": True},
    "early boot gives it up": {"ends": "failed"},
    "early boot does not believe it": {"ends": "refused"},
    "a worker": {"worker": True},
    "the Lease is its own already": {"lease": ME},
}
REFUSED: dict[str, dict[str, Any]] = {
    "a member is down": {"unready": {"nuc-3"}},
    "the only server": {"alone": True},
    "another is being wiped": {"lease": "nuc-2"},
    "another joins": {"busy": "nuc-3 joins"},
    "the endpoint's word": {"grant_why": "another node"},
    "no snapshot": {"silent": {"snapshot"}},
    "no api": {"silent": {"api"}},
    "no endpoint": {"silent": {"endpoint"}},
    "no root half": {"silent": {"machine"}},
}
OUTCOME = {"done": "done", "failed": "failed", "refused": "refused"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    monkeypatch.setattr("os.fsync", lambda fd: None)  # crashes here are of processes; thousands of starts
    count = iter(range(10_000))

    def make(**more: Any) -> World:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        return World(folder, **more)

    return make


def check_whole(one: World) -> None:
    """What must hold at the end of a wipe that was armed."""
    assert one.erased == (one.ends == "done")
    assert [result.outcome for result in one.results[-1:]] == [OUTCOME[one.ends]]
    assert {(result.outcome, result.detail) for result in one.results} == {
        (one.results[0].outcome, one.results[0].detail)
    }
    assert one.reported and not one.lease and not one.cordoned and one.snapshots >= (not one.worker)
    assert one.steps == [f"armed with {2 if one.stuck else 0} pods, lease {'free' if one.worker else ME}"]
    assert bool(one.declared) == (one.deaf and one.ends == "done")
    assert one.memory.ledger.consumed == 7


@pytest.mark.parametrize("name", WHOLE)
async def test_each_point_crashes_once_and_it_ends_as_the_undisturbed_one(
    world: Callable[..., World], name: str
) -> None:
    undisturbed = world(**WHOLE[name])
    undisturbed.command()
    await undisturbed.until_quiet()
    check_whole(undisturbed)
    assert len(undisturbed.results) == 1
    points = undisturbed.points
    assert points > 40
    for at in range(1, points + 1):
        one = world(**WHOLE[name], crash_at=at)
        one.command()
        await one.until_quiet()
        assert one.crashes == 1
        check_whole(one)
        assert one.memory.record.state is undisturbed.memory.record.state


@pytest.mark.parametrize("seed", range(20))
async def test_crashes_at_random_points_end_the_same(world: Callable[..., World], seed: int) -> None:
    one = world(seed=seed, chance=0.04, deaf=bool(seed % 2), stuck=seed % 3 == 0)
    one.command()
    await one.until_quiet(4000)
    one.chance = 0.0
    check_whole(one)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_spared_is_answered_and_leaves_nothing_behind(
    world: Callable[..., World], name: str
) -> None:
    first = world(**REFUSED[name])
    for at in range(-1, 60):
        one = world(**REFUSED[name], crash_at=at)
        one.command()
        for _ in range(150):
            await one.turn()
        if "api" in one.silent:
            one.silent = set()
        await one.until_quiet()
        assert {result.outcome for result in one.results} <= {"refused", "failed"} and one.results
        assert (one.phase, one.erased, one.boots, one.cordoned) == ("", 0, 0, False)
        assert one.lease == first.lease and one.memory.record.state is NodeState.READY
        if at > 0 and not one.crashes:
            break


async def test_a_lease_that_was_its_own_before_is_given_back_by_a_wipe_that_is_refused(
    world: Callable[..., World],
) -> None:
    """Left lying by a rejoin, or by a wipe whose file is lost: whoever finds it so owes it."""
    for at in range(-1, 60):
        one = world(lease=ME, grant_why="another node", crash_at=at)
        one.command()
        await one.until_quiet()
        assert [result.outcome for result in one.results[-1:]] == ["refused"] and not one.lease
        if at > 0 and not one.crashes:
            return
    raise AssertionError("it has more points than were walked")


async def test_a_rebuild_asks_no_cluster_and_keeps_no_quorum(world: Callable[..., World]) -> None:
    one = world(alone=True, silent={"api", "snapshot"})
    one.command(rebuild="yes", snapshot="no")
    for _ in range(10):
        await one.turn()
    assert one.erased == 1 and [result.outcome for result in one.results] == ["done"]


@pytest.mark.parametrize("at", range(1, 45))
async def test_a_retired_node_answers_before_it_is_nobody(world: Callable[..., World], at: int) -> None:
    one = world(crash_at=at)
    one.command(("var", "conf", "keep", "ident"), Verb.RETIRE)
    for _ in range(60):
        answered = bool(one.results)
        await one.turn()
        if one.erased:
            assert answered
            break
    assert one.erased == 1
    assert {result.outcome for result in one.results} == {"done"}
    assert one.memory.record.state is NodeState.RETIRED


async def test_armed_and_never_begun_a_person_is_called_and_nothing_is_answered(world: Callable[..., World]) -> None:
    one = world(ends="")
    one.command()
    for _ in range(1500):
        await one.turn()
    assert (one.boots, one.results, one.memory.record.state) == (3, [], NodeState.WIPING)
    assert "3 starts did not carry it out" in one.wiper.reason.text
    one.ends = "done"
    one.boot()
    await one.until_quiet()
    check_whole(one)


async def test_an_endpoint_that_is_away_after_the_boot_is_told_all_once_it_is_back(world: Callable[..., World]) -> None:
    one = world(deaf=True, stuck=True)
    one.command()
    while not one.erased:
        await one.turn()
    one.silent = {"endpoint"}
    for _ in range(300):
        await one.turn()
        one.comes_back()
    assert (one.results, one.declared, one.memory.record.state) == ([], [], NodeState.READY)
    one.silent = set()
    await one.until_quiet()
    check_whole(one)
    assert one.results[0].detail == "erased, and read back; pods that did not go: shop/till-0, shop/till-1"
    assert one.declared[0][1][1] == [(2, 3, "mixed")]


async def test_an_arming_whose_answer_was_lost_is_looked_up_and_never_answered_as_failed(
    world: Callable[..., World],
) -> None:
    one = world()
    one.command()
    while one.phase != "armed":
        await one.turn()
        if one.duties.duty is not None and one.duties.duty.arming:
            break
    one.down, one.silent = False, {"machine", "api"}
    one.start()
    for _ in range(200):
        await one.turn()
    assert one.results == []
    one.silent = set()
    await one.until_quiet()
    check_whole(one)
