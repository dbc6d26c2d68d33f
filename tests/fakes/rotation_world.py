"""A formed site in one process whose secrets change: disks that survive a crash, one Lease, and what must always hold.

What runs is kept apart from what is said: `running` is by which secrets a server's programs were last started.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import structlog

from agents.contracts.identity import Member
from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.siblings import FormationStatus, Stage
from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.port import ClusterMember, ClusterPlan
from edge_commander.formation.site import Site
from edge_commander.reasons import NOTHING, Reason
from edge_commander.rotation.plan import Life, Turn
from edge_commander.rotation.rotor import Parts, Rotor
from edge_commander.rotation.store import Progress
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.rotation import digest, following
from edge_commander.secrets.store import Draft
from tests.fakes.formation_world import Crash, secrets_of
from tests.fakes.threads import inline

SITE = "store-1"
ROUND_SECONDS = 3.0
OVERLAP_MS = 180_000
HALF_ROUNDS = 2
"""How long the root half renews; what it began goes on when the asker goes away."""


@dataclass
class Disk:
    """`var` of one node, and what its servers run by; `joining`: rounds until it is a member again."""

    secrets: SiteSecrets | None
    progress: Progress = field(default_factory=Progress)
    draft: Draft | None = None
    running: SiteSecrets | None = None
    joining: int = 0


@dataclass
class Half:
    """A renewal in the root half of one node."""

    secrets: SiteSecrets
    rounds: int = HALF_ROUNDS
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Lease:
    """The object, with its resourceVersion."""

    turn: Turn = field(default_factory=Turn)
    version: int = 0


class World:
    """`chance` of a crash at each point; `off`: without power; `cut`: pairs that cannot talk."""

    def __init__(self, count: int = 3, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.names = [f"n{i}" for i in range(count)]
        self.roster = tuple(
            Member(node=name, name=f"nuc-{name}", address=name, signing={"k": name}) for name in self.names
        )
        first = secrets_of(SITE, 1, 1)
        self.disks = {name: Disk(first, running=first) for name in self.names}
        self.made: dict[int, set[str]] = {1: {digest(first)}}
        self.lease = Lease()
        self.order: SiteOrder | None = None
        self.off: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self.renewing: dict[str, Half] = {}
        self.upgrading = ""
        self.renewals: list[str] = []
        self.lives: dict[str, Life] = {}
        self.marks = 1
        self.now = 0.0
        self.chance = 0.0
        self.points = 0
        self.crash_at: int | None = None
        self.nodes = {name: Node(self, name) for name in self.names}

    def rotate(self, number: int = 1, generation: int = 0) -> None:
        self.order = SiteOrder(
            site=SITE, epoch=1, kind=OrderKind.ROTATE, number=number, generation=generation, issued_at=1
        )

    def point(self) -> None:
        self.points += 1
        if self.points == self.crash_at or self.random.random() < self.chance:
            raise Crash

    def monotonic(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return int(self.now * 1000) + 1

    def site(self, name: str) -> Site:
        orders = (self.order,) if self.order is not None else ()
        return Site(site=SITE, me=name, epoch=1, roster=self.roster, orders=orders)

    def talk(self, one: str, other: str) -> None:
        if {one, other} & self.off or frozenset((one, other)) in self.cut:
            raise Retryable("cut off")

    def well(self, name: str) -> bool:
        return name not in self.off and not self.disks[name].joining

    def wipe(self, name: str) -> None:
        """An empty box of the same identity, which is to join first."""
        self.disks[name] = Disk(None, joining=3)
        self.renewing.pop(name, None)
        self.nodes[name] = Node(self, name)

    async def round(self, rounds: int = 1) -> None:
        inline()
        for _ in range(rounds):
            order = [name for name in self.names if name not in self.off]
            self.random.shuffle(order)
            if self.random.random() < 0.5:
                await asyncio.gather(*(self.nodes[name].turn() for name in order))
            else:
                for name in order:
                    await self.nodes[name].turn()
            self.check()
            for name, half in list(self.renewing.items()):
                half.rounds -= 1
                if half.rounds <= 0:
                    self.disks[name].running = half.secrets
                    del self.renewing[name]
                    if (life := self.lives.get(name)) is not None:
                        self.lives[name] = Life(self.now_ms(), self.now_ms() + life.end - life.begin)
                    half.ended.set()
            self.check()
            for _ in range(6):
                await asyncio.sleep(0)
            self.now += ROUND_SECONDS

    async def pause(self) -> None:
        """Others may come between."""
        for _ in range(self.random.randrange(3)):
            await asyncio.sleep(0)

    def check(self) -> None:
        """What must hold at every moment."""
        assert all(len(digests) == 1 for digests in self.made.values()), "two secrets of one generation"
        assert len(self.renewing) <= 1, f"{list(self.renewing)} renew at once"
        up = [disk.running for disk in self.disks.values() if disk.running is not None]
        for one in up:
            for other in up:
                accepts = {other.service_account_key, other.service_account_next, other.service_account_old}
                assert one.service_account_key in accepts, "a token that another server does not accept"

    def settled(self, at_least: int) -> bool:
        held = {disk.secrets for disk in self.disks.values()}
        if len(held) != 1 or (one := held.pop()) is None or not one.settled or one.generation < at_least:
            return False
        return all(d.running == one and d.progress.runs == one.generation for d in self.disks.values())


class Node:
    """A process on a disk."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.restart()

    @property
    def disk(self) -> Disk:
        return self.world.disks[self.name]

    def restart(self) -> None:
        self.reason = NOTHING
        self.rotor = Rotor(
            Parts(
                distribution=Cluster(self.world, self.name), siblings=Talk(self.world, self.name),
                lease=LeaseView(self.world, self.name), upgrading=self._upgrading,
                secrets=Secrets(self.world, self.name),
                progress=ProgressDisk(self.world, self.name), make=self._make, settle=self._settle, life=self._life,
                now_ms=self.world.now_ms, clock=self.world, log=structlog.get_logger(), overlap_ms=OVERLAP_MS,
            )
        )  # fmt: skip

    async def turn(self, clock: Reason = NOTHING) -> None:
        try:
            if self.disk.joining:
                self._join()
                return
            self.reason = await self.rotor.turn(self.world.site(self.name), clock)
            task = self.rotor._task
            ended = task is not None and task.done() and not task.cancelled()
            if task is not None and ended and isinstance(error := task.exception(), Crash):
                raise error
        except Crash:
            if (task := self.rotor._task) is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self.restart()

    def status(self) -> FormationStatus:
        stage = Stage.DECIDED if self.disk.joining else Stage.MEMBER
        return self.rotor.told(FormationStatus(node=self.name, epoch=1, stage=stage))

    def _join(self) -> None:
        """As Former does: the newest that any member holds, then the join, then what it runs by, then a member."""
        held = [self.world.disks[o].secrets for o in self.world.names if o != self.name and self.world.well(o)]
        if found := [one for one in held if one is not None]:
            disk = self.disk
            newest = max(found, key=lambda one: one.generation)
            if disk.secrets is None or disk.secrets.generation < newest.generation:
                disk.secrets = newest
                return
            disk.joining -= 1
            if not disk.joining:
                disk.running = disk.secrets
                disk.progress = Progress(epoch=1, runs=disk.secrets.generation)

    def _make(self, held: SiteSecrets, number: int, order: int) -> SiteSecrets:
        self.world.marks += 1
        mark = self.world.marks
        key = held.service_account_key
        return following(held, number, order, token=f"{mark:064x}", key=f"key-{mark}", public=key)

    async def _upgrading(self) -> str:
        return self.world.upgrading

    async def _settle(self, plan: ClusterPlan) -> None:
        self.world.point()

    async def _life(self, address: str) -> Life | None:
        return self.world.lives.get(self.name)


@dataclass
class Secrets:
    world: World
    name: str

    @property
    def secrets(self) -> SiteSecrets | None:
        return self.world.disks[self.name].secrets

    @property
    def draft(self) -> Draft | None:
        return self.world.disks[self.name].draft

    @draft.setter
    def draft(self, draft: Draft | None) -> None:
        raise AssertionError("only by sketch and drop")

    def save(self, secrets: SiteSecrets) -> None:
        held = self.secrets
        if held is not None and (secrets.epoch, secrets.generation) <= (held.epoch, held.generation):
            raise Rejected("the store refuses what goes back")
        self.world.point()
        self.world.made.setdefault(secrets.generation, set()).add(digest(secrets))
        self.world.disks[self.name].secrets = secrets
        self.world.point()

    def sketch(self, draft: Draft) -> None:
        self.world.point()
        self.world.disks[self.name].draft = draft
        self.world.point()

    def drop(self) -> None:
        self.world.point()
        self.world.disks[self.name].draft = None
        self.world.point()


@dataclass
class ProgressDisk:
    world: World
    name: str

    @property
    def progress(self) -> Progress:
        return self.world.disks[self.name].progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        raise AssertionError("only by save")

    def save(self, progress: Progress) -> None:
        self.world.point()
        self.world.disks[self.name].progress = progress
        self.world.point()


@dataclass
class Talk:
    world: World
    name: str

    async def status(self, member: Member) -> FormationStatus:
        await self.world.pause()
        self.world.talk(self.name, member.node)
        return self.world.nodes[member.node].status()

    async def secrets(self, member: Member, site: str, epoch: int) -> SiteSecrets:
        self.world.talk(self.name, member.node)
        found = self.world.disks[member.node].secrets
        if found is None:
            raise Retryable("none here")
        return found


@dataclass
class LeaseView:
    """The Lease as one node last read it; a majority must have power for the API to answer."""

    world: World
    name: str
    seen: int = -1

    async def read(self) -> Turn:
        await self.world.pause()
        self._quorum()
        self.seen = self.world.lease.version
        return self.world.lease.turn

    async def take(self, name: str) -> bool:
        await self.world.pause()
        turn = self.world.lease.turn
        return self._write(Turn(name, turn.epoch, turn.generation, turn.digest))

    async def announce(self, epoch: int, generation: int, digest: str) -> bool:
        await self.world.pause()
        return self._write(Turn(self.world.lease.turn.holder, epoch, generation, digest))

    def _write(self, turn: Turn) -> bool:
        self._quorum()
        self.world.point()
        lease = self.world.lease
        if lease.version != self.seen:
            return False
        self.world.lease = Lease(turn, lease.version + 1)
        self.seen = lease.version + 1
        self.world.point()
        return True

    def _quorum(self) -> None:
        if 2 * sum(self.world.well(name) for name in self.world.names) <= len(self.world.names):
            raise Retryable("the API server does not answer")


@dataclass
class Cluster:
    world: World
    name: str

    async def members(self) -> list[ClusterMember]:
        return [ClusterMember(name=one.name, ready=self.world.well(one.node), server=True) for one in self.world.roster]

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        assert plan is not None and plan.secrets is not None
        self.world.point()
        if self.name in self.world.renewing:
            raise Retryable("another operation is under way on this node")
        half = self.world.renewing[self.name] = Half(plan.secrets)
        self.world.renewals.append(self.name)
        self.world.check()
        await half.ended.wait()
        self.world.point()
