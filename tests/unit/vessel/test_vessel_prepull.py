"""Naming images and waiting for them: bounded, in virtual time, and never a reason not to apply."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from agents.contracts.codec import decode, encode
from agents.contracts.images import KEY, NodeImages, WantedImages
from agents.contracts.messages import Deployment
from agents.core.errors import Rejected, Retryable
from tests.fakes.clock import VirtualClock
from vessel.model import AppSpec, Atlas, Commit, Ref
from vessel.objects import Item
from vessel.plan import Action, Step
from vessel.prepare import Prepared
from vessel.prepull import Prepull
from vessel.settings import PrepullSettings


class Maps:
    """The two ConfigMaps."""

    def __init__(self) -> None:
        self.asked: list[WantedImages] = []
        self.lines: dict[str, str] | None = {}
        self.refuses = False

    async def apply(self, resource: Any, namespace: str, name: str, body: Any, **rest: Any) -> None:
        if self.refuses:
            raise Rejected("forbidden")
        self.asked.append(decode(body["data"][KEY], WantedImages))

    async def get(self, resource: Any, namespace: str, name: str) -> Any:
        return None if self.lines is None else {"data": dict(self.lines)}

    def says(self, node: str, revision: str = "r1", **parts: Any) -> None:
        assert self.lines is not None
        self.lines[node] = encode(NodeImages(revision=revision, **parts)).decode()


class World:
    def __init__(self, mode: str = "wait") -> None:
        self.clock, self.maps = VirtualClock(), Maps()
        self.sent: list[Deployment] = []
        self.said: list[str] = []
        self.between = 0
        self.newer = False
        self.lost = False
        self.prepull = Prepull(
            self.maps,  # type: ignore[arg-type]
            PrepullSettings(mode=mode, wait_seconds=600.0),
            self.clock,
            fence=self.fence,
            send=self.send,
            say=self.said.append,
            log=structlog.get_logger(),
        )

    def fence(self) -> float:
        if self.lost:
            raise Retryable("lost the lease")
        return 10.0

    async def send(self, report: Deployment) -> None:
        self.sent.append(report)

    async def meanwhile(self) -> None:
        self.between += 1

    async def before(self, made: Prepared) -> bool:
        return await self.prepull.before(made, lambda: self.newer, self.meanwhile)

    async def waits(self, made: Prepared) -> asyncio.Task[bool]:
        task = asyncio.create_task(self.before(made))
        await self.clock.advance(2.0)
        assert not task.done()
        return task


def prepared(action: Action = Action.CREATE, *, kind: str = "Deployment", again: bool = False) -> Prepared:
    spec = {"template": {"spec": {"containers": [{"image": "a:1"}]}}}
    item = Item(Ref("apps/v1", kind, "ns", "x"), "web", "ns/a", {"spec": spec}, "d", "f.yaml", 1)
    app = {"web": (Step(item, action),)}
    return Prepared(Atlas(Commit("r1"), ()), {"web": AppSpec("web")}, app, {}, frozenset(), again=again)


async def test_a_commit_is_applied_once_every_node_has_its_images() -> None:
    world = World()
    world.maps.says("n1", "r0")
    world.maps.says("n2", "r0")
    task = await world.waits(prepared())
    assert [one.images for one in world.maps.asked] == [["docker.io/library/a:1"]]
    world.maps.says("n1")
    world.maps.says("n2", missing=1)
    await world.clock.advance(100.0)
    assert not task.done() and "n2 for 1 of 1" in world.said[-1] and world.between > 50, "drift is undone meanwhile"
    world.maps.says("n2")
    await world.clock.advance(1.0)
    assert await task is False, "it has waited: the commit is looked at anew"
    assert await world.before(prepared()) is True and world.sent == [] and len(world.maps.asked) == 1


async def test_the_wait_is_bounded_and_the_report_says_what_is_not_there() -> None:
    world = World()
    world.maps.says("n1", missing=1)
    task = await world.waits(prepared())
    await world.clock.advance(597.0)
    assert not task.done()
    await world.clock.advance(2.0)
    assert await task is False and await world.before(prepared()) is True
    (report,) = world.sent
    assert report.problems[0].cause.startswith("not all images were there within 600 s: waited for n1 for 1 of 1")
    assert report.durations["images"] == pytest.approx(600.0, abs=2)


async def test_a_newer_commit_and_a_lost_lease_end_the_wait() -> None:
    world = World()
    world.maps.says("n1", missing=1)
    task = await world.waits(prepared())
    world.newer = True
    await world.clock.advance(2.0)
    assert await task is False
    world.newer = False
    task = await world.waits(prepared())
    world.lost = True
    await world.clock.advance(2.0)
    with pytest.raises(Retryable):
        await task


@pytest.mark.parametrize(
    ("mode", "made", "asked"),
    [
        ("off", prepared(), 0),
        ("background", prepared(), 1),
        ("wait", prepared(Action.KEEP), 0),
        ("wait", prepared(Action.REPAIR), 0),
        ("wait", prepared(kind="Service"), 0),
        ("wait", prepared(again=True), 1),
    ],
    ids=["off", "background", "nothing new", "a repair", "no pods", "back to what was"],
)
async def test_when_nobody_is_waited_for(mode: str, made: Prepared, asked: int) -> None:
    world = World(mode)
    world.maps.says("n1", missing=1)
    assert await world.before(made) is True and len(world.maps.asked) == asked


@pytest.mark.parametrize("what", ["no right to write", "nobody pulls", "nonsense"])
async def test_it_is_never_a_reason_not_to_apply(what: str) -> None:
    world = World()
    world.maps.refuses = what == "no right to write"
    world.maps.lines = None if what == "nobody pulls" else {"n1": "{" if what == "nonsense" else "{}"}
    task = asyncio.create_task(world.before(prepared()))
    await world.clock.advance(70.0)
    assert await task is (what != "nonsense")
    assert await world.before(prepared()) is True
