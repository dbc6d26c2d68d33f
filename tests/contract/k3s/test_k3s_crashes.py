"""Killed, or cut from power, between any two steps of any operation: asked again it ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.core.errors import Retryable
from edge_commander.distribution.k3s import executor
from edge_commander.distribution.k3s.distribution import K3s
from edge_commander.distribution.k3s.facts import Role
from tests.fakes.k3s_kit import plan
from tests.fakes.k3s_world import World

MOST_STEPS = 40
Operation = Callable[[K3s], Awaitable[Any]]


class Killed(Exception):
    """The end of the process."""


async def first(world: World) -> None:
    await world.k3s().init(plan())


async def joined(world: World) -> None:
    (world.root / "cluster-answers").touch()
    await world.k3s().join(JOINER)


async def snapshotted(world: World) -> None:
    await first(world)
    await world.k3s().snapshot("before")


async def nothing(world: World) -> None:
    return


async def cluster_answers(world: World) -> None:
    (world.root / "cluster-answers").touch()


async def staged(world: World) -> None:
    await first(world)
    text = (world.root / "bin/k3s").read_text().replace("cat $R/version", "echo 'k3s version v1.33.2+k3s1 (x)'")
    world.program("var/lib/galley-k3s/v1.33.2+k3s1/k3s", text)
    world.running = "v1.33.2+k3s1"


JOINER = plan("nuc-2", ("192.0.2.1",), address="192.0.2.2")
NEXT = plan(epoch=2)
CASES: dict[str, tuple[Callable[[World], Awaitable[None]], Operation, list[str]]] = {
    "init": (nothing, lambda k3s: k3s.init(plan()), ["new-cluster"]),
    "join": (cluster_answers, lambda k3s: k3s.join(JOINER), ["joined"]),
    "reset": (first, lambda k3s: k3s.reset(), ["new-cluster"]),
    "rotate": (first, lambda k3s: k3s.rotate(), ["new-cluster", "rotated"]),
    "upgrade": (staged, lambda k3s: k3s.upgrade("v1.33.2+k3s1"), ["new-cluster"]),
    "restore": (
        snapshotted,
        lambda k3s: k3s.restore("/keep/k3s/etcd/before-nuc-1-1000", NEXT),
        ["new-cluster", "restored /keep/k3s/etcd/before-nuc-1-1000"],
    ),
}


def kill_after(monkeypatch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Ends the work when the step is just done; 0: before the first. Counts the steps."""
    original, count = executor.Executor._do, [0]

    async def do(self: executor.Executor, one: Any) -> None:
        if step == 0:
            raise Killed
        count[0] += 1
        await original(self, one)
        if count[0] == step:
            raise Killed

    monkeypatch.setattr(executor.Executor, "_do", do)
    return count


def begun(events: list[str]) -> list[str]:
    """Events that may come once more when a step is repeated are counted once; a new cluster never is."""
    repeatable = ("rotated", "restored")
    kept: list[str] = []
    for event in events:
        if not (event.startswith(repeatable) and event in kept):
            kept.append(event)
    return kept


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("case", CASES)
async def test_it_converges(case: str, power: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, operate, events = CASES[case]
    expected = await undisturbed(tmp_path, prepare, operate)
    for step in range(MOST_STEPS):
        folder = tmp_path / str(step)
        folder.mkdir()
        world = World(folder)
        await prepare(world)
        with monkeypatch.context() as patch:
            count = kill_after(patch, step)
            try:
                await operate(world.k3s())
                killed = False
            except Killed:
                killed = True
        if killed:
            if power:
                world.power_cut()
            await operate(world.k3s())
        assert world.state() == expected, f"{case}, step {step}"
        assert begun(world.events) == events
        if not killed:
            assert count[0] >= 3 and step == count[0] + 1
            return
    pytest.fail("the operation has more steps than were walked")


async def undisturbed(tmp_path: Path, prepare: Callable[[World], Awaitable[None]], operate: Operation) -> object:
    """The end without any crash; asked again, it does nothing but what is meant to be repeated."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    world = World(folder)
    await prepare(world)
    await operate(world.k3s())
    before = len(world.calls)
    state = world.state()
    await operate(world.k3s())
    again = " ".join(world.calls[before:])
    assert not any(word in again for word in ("restart", "cluster-reset", "killall"))
    assert world.state() == state
    return state


@pytest.mark.parametrize("case", ["init", "join"])
async def test_a_server_that_does_not_come_up_is_waited_for_and_taken_on(case: str, world: World) -> None:
    prepare, operate, events = CASES[case]
    await prepare(world)
    world.answers = False
    with pytest.raises(Retryable, match=r"gave up after 300 s to wait until Node nuc-. is Ready: API server: refused"):
        await operate(world.k3s())
    world.answers = True
    await operate(world.k3s())
    assert world.events == events
    marker = world.state()["marker"]
    assert marker.role is Role.MEMBER  # type: ignore[attr-defined]
