"""A formed site in one process whose nodes are upgraded: crashes at any point, nodes that do not come back, people."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import structlog

from agents.contracts.identity import Member
from agents.contracts.orders import OrderKind, SiteOrder
from agents.core.errors import Retryable
from edge_commander.distribution.port import ClusterHealth, ClusterMember
from edge_commander.formation.site import Site
from edge_commander.formation.slot import Held
from edge_commander.reasons import NOTHING, Reason
from edge_commander.rolling.gate import OwnNode
from edge_commander.rolling.plan import Turn
from edge_commander.rolling.pods import Pod
from edge_commander.rolling.roller import Means, Roller, Work
from tests.fakes.threads import inline

QUIET = structlog.wrap_logger(structlog.ReturnLogger())
OLD, NEW, NEXT = "1.36.2", "1.36.3", "1.36.4"


class Crash(BaseException):
    """The power is gone at this very point."""


@dataclass
class Box:
    """One node as the cluster has it. `fails`: what its upgrade ends in; `dies`: in the middle of it, for good.
    `stuck`: pods that no budget lets go; `has`: versions whose programs lie here."""

    version: str = OLD
    ready: bool = True
    cordoned: bool = False
    marked: bool = False
    upgrading: bool = False
    dead: bool = False
    fails: type[Exception] | None = None
    dies: bool = False
    stuck: bool = False
    pods: int = 2
    has: set[str] = field(default_factory=lambda: {OLD, NEW, NEXT})
    upgrades: list[str] = field(default_factory=list)

    @property
    def away(self) -> bool:
        return self.marked or not self.ready


class World:
    """`chance` of a crash at each point; `crash_at`: the one point that crashes."""

    def __init__(self, count: int = 3, seed: int = 0, *, go_on: bool = True, cas: bool = True) -> None:
        self.random = random.Random(seed)
        self.names = [f"nuc-{i}" for i in range(1, count + 1)]
        self.roster = tuple(
            Member(node=f"n{i}", name=name, address="", signing={"k": name}) for i, name in enumerate(self.names)
        )
        self.boxes = {name: Box() for name in self.names}
        self.order: SiteOrder | None = None
        self.lease, self.rev, self.cas = Turn(), 0, cas
        self.joiner = Held()
        self.renewing = ""  # the Node that renews its certificates: its root half does nothing else meanwhile
        self.chance, self.points, self.crash_at = 0.0, 0, -1
        self.crashes = 0
        self.now, self.go_on = 0.0, go_on
        self.most_away = 0
        self.nodes = {name: Process(self, name) for name in self.names}

    def command(self, number: int, version: str = NEW) -> None:
        self.order = SiteOrder(
            site="store-1", epoch=1, kind=OrderKind.UPGRADE, number=number, version=version, issued_at=0
        )

    def monotonic(self) -> float:
        return self.now

    def point(self) -> None:
        self.points += 1
        if self.points == self.crash_at or self.random.random() < self.chance:
            self.crashes += 1
            raise Crash

    def site(self, name: str) -> Site:
        me = next(one.node for one in self.roster if one.name == name)
        orders = (self.order,) if self.order else ()
        return Site(site="store-1", me=me, epoch=1, roster=self.roster, generation=2, orders=orders)

    async def round(self, rounds: int = 1) -> None:
        inline()
        for _ in range(rounds):
            order = [name for name in self.names if not self.boxes[name].dead]
            self.random.shuffle(order)
            for name in order:
                await self.nodes[name].turn()
                self.check()
            self.now += 3.0

    def check(self) -> None:
        """What must hold at every moment."""
        away = [name for name, box in self.boxes.items() if box.away]
        self.most_away = max(self.most_away, len(away))
        assert len(away) <= 1, f"{away} are away at once"

    @property
    def versions(self) -> list[str]:
        return [box.version for box in self.boxes.values()]

    @property
    def clean(self) -> bool:
        """Nothing of ours is left behind."""
        return not self.lease.holder and not any(box.marked or not box.ready for box in self.boxes.values())

    def reasons(self) -> dict[str, Reason]:
        return {name: process.roller.aside for name, process in self.nodes.items()}


class Process:
    """A commander on a box; what Former does of it."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.start()

    @property
    def box(self) -> Box:
        return self.world.boxes[self.name]

    def start(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.tick = asyncio.Event()
        cluster = FakeCluster(self)
        self.roller = Roller(
            Means(
                distribution=cluster,  # type: ignore[arg-type]
                cluster=cluster, joins=cluster, holds=lambda version: version in self.box.has, clock=self.world,
                log=QUIET, drain_seconds=30.0, go_on=self.world.go_on,
                renews=self._renews,
            )
        )  # fmt: skip
        self.reason = NOTHING

    async def _renews(self) -> str:
        return self.world.renewing

    async def turn(self) -> None:
        try:
            if self.task is not None:
                self.tick.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not self.task.done():
                    return
                task, self.task = self.task, None
                task.result()
            found = await self.roller.turn(self.world.site(self.name))
            self.reason = NOTHING if isinstance(found, Work) else found
            if isinstance(found, Work):
                self.task = asyncio.create_task(found.run)
        except Crash:
            if not self.box.dead:  # it boots, in whatever version it had come to
                self.box.ready, self.box.upgrading = True, False
            self.start()


class FakeCluster:
    """The cluster through one node's own API server, which is away while that node is."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.read = -1

    @property
    def world(self) -> World:
        return self.process.world

    def _up(self) -> None:
        self.world.point()
        if not self.process.box.ready:
            raise Retryable("the API server does not answer")

    async def members(self) -> list[ClusterMember]:
        self._up()
        return [
            ClusterMember(name=name, ready=box.ready, server=True, version=f"v{box.version}")
            for name, box in sorted(self.world.boxes.items())
        ]

    async def health(self) -> ClusterHealth:
        return ClusterHealth(api=self.process.box.ready)

    async def holder(self) -> Held:
        return self.world.joiner

    async def turn(self) -> Turn:
        self._up()
        self.read, found = self.world.rev, self.world.lease
        await asyncio.sleep(0)  # another may look, and write, before this one does
        return found

    async def put(self, turn: Turn) -> bool:
        self._up()
        if self.world.cas and self.read != self.world.rev:
            return False
        self.world.lease, self.world.rev = turn, self.world.rev + 1
        self.read = self.world.rev
        self.world.point()
        return True

    async def node(self, name: str) -> OwnNode:
        box = self.world.boxes[name]
        return OwnNode(box.cordoned, box.marked, "")

    async def cordon(self, name: str, number: int) -> None:
        self._up()
        box = self.world.boxes[name]
        if not box.cordoned:
            box.cordoned = box.marked = True
        self.world.point()

    async def uncordon(self, name: str) -> None:
        self._up()
        box = self.world.boxes[name]
        if box.marked:
            box.cordoned = box.marked = False
        self.world.point()

    async def evict(self, name: str) -> list[Pod]:
        self._up()
        box = self.world.boxes[name]
        box.pods = box.pods if box.stuck else max(0, box.pods - 1)
        return [Pod("shop", f"till-{i}", f"u{i}") for i in range(box.pods)]

    async def upgrade(self, version: str) -> None:
        box = self.process.box
        self.world.point()
        if self.world.renewing == self.process.name:
            raise Retryable("another operation is under way on this node")
        if box.fails is not None:
            raise box.fails("kubeadm failed with status 1")
        if box.version == version:
            return
        assert box.cordoned, "pods were told to go before"
        box.upgrades.append(version)
        box.ready, box.upgrading = False, True
        await self._while()
        if box.dies:
            box.dead = True
            raise Crash
        box.version = version
        self.world.point()
        await self._while()
        box.ready, box.upgrading = True, False
        self.world.point()

    async def _while(self) -> None:
        for _ in range(2):
            self.process.tick.clear()
            await self.process.tick.wait()
            self.world.point()
