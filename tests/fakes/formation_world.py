"""A site of nodes in one process: siblings that may be cut off, disks that survive a crash, one truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, SlotAnswer, SlotRequest, Stage
from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.port import ClusterHealth, ClusterMember, ClusterPlan, NodeAccess, Snapshot
from edge_commander.formation import record as records
from edge_commander.formation.former import Former
from edge_commander.formation.parts import Parts
from edge_commander.formation.record import Record, is_kept
from edge_commander.formation.site import Site
from edge_commander.formation.slot import Held
from edge_commander.formation.usher import Usher
from edge_commander.formation.worker import WorkerFormer
from edge_commander.reasons import NOTHING, Reason
from edge_commander.secrets.model import SiteSecrets
from tests.fakes.formation_disk import Cluster, Crash, Disk, secrets_of
from tests.fakes.formation_ports import FakeRoller, Gate
from tests.fakes.threads import inline

__all__ = ["Cluster", "Crash", "Disk", "World", "secrets_of", "stages"]


class World:
    """`chance` of a crash at each point; `cut`: pairs that cannot talk."""

    def __init__(self, count: int, seed: int = 0, *, workers: int = 0) -> None:
        self.random = random.Random(seed)
        self.names = [f"n{i}" for i in range(count + workers)]
        members = tuple(
            Member(node=name, name=f"nuc-{name}", address=f"10.0.0.{i}", signing={"k": name})
            for i, name in enumerate(self.names)
        )
        self.roster, self.workers = members[:count], members[count:]
        self.epoch = 1
        self.disks = {name: Disk() for name in self.names}
        self.clusters: dict[int, Cluster] = {}
        self.grants: dict[int, str] = {}
        self.begun: dict[int, str] = {}  # at the endpoint: by epoch, the number that was said first
        self.restore: set[int] = set()  # epochs whose cluster is made of a snapshot
        self.offline = False
        self.stuck: set[str] = set()  # nodes whose cluster does not stop
        self.unfit_restore = False
        self.cloud = True
        self.off: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self.rosters: dict[str, tuple[int, tuple[Member, ...]]] = {}  # of a node that has another than `roster`
        self.unfit: set[str] = set()  # Nodes that no join makes members
        self.upgrading = ""  # the Node that holds the turn to be upgraded
        self.reached: dict[str, str] = {}  # where siblings were last
        self.doors: dict[str, str] = {}  # of a worker: the address of the server that it goes by
        self.mute: set[str] = set()  # whose own API server is down
        self.chance = 0.0
        self.points = 0
        self.crash_at: int | None = None
        self.marks = 0
        self.now = 0.0
        self.nodes = {name: Node(self, name) for name in self.names}

    def cluster(self, epoch: int) -> Cluster:
        return self.clusters.setdefault(epoch, Cluster())

    def point(self) -> None:
        self.points += 1
        if self.points == self.crash_at or self.random.random() < self.chance:
            raise Crash

    def talk(self, one: str, other: str) -> None:
        if {one, other} & self.off or frozenset((one, other)) in self.cut:
            raise Retryable("cut off")
        if one not in {member.node for member in self.site(other).members}:
            raise Rejected("certificate refused: not in the roster")

    def monotonic(self) -> float:
        return self.now

    def site(self, name: str) -> Site:
        generation, roster = self.rosters.get(name, (2, self.roster))
        restore = self.epoch in self.restore
        workers = tuple(one for one in self.workers if one not in roster)
        return Site(
            site="store-1", me=name, epoch=self.epoch, roster=roster, generation=generation, restore=restore,
            workers=workers,
        )  # fmt: skip

    async def round(self, rounds: int = 1) -> None:
        """Each node that has power takes a turn, in some order."""
        inline()
        for _ in range(rounds):
            order = [name for name in self.names if name not in self.off]
            self.random.shuffle(order)
            for name in order:
                await self.nodes[name].turn()
            self.now += 3.0

    def formed(self) -> bool:
        members = self.cluster(self.epoch).members
        return len(members) == len(self.names) and all(node.former.member for node in self.nodes.values())

    def check(self) -> None:
        """What must hold at every moment."""
        for epoch, cluster in self.clusters.items():
            assert len(set(cluster.inits)) <= 1, f"epoch {epoch} was begun by {cluster.inits}"
            assert len(set(cluster.members.values())) <= 1, f"members with different authorities: {cluster.members}"
            assert cluster.most_joining <= 1, "two joined at once"
            assert not (epoch in self.restore and cluster.inits and not cluster.restored), "an empty cluster was begun"


class Node:
    """A process on a disk; `restart` is what follows a crash."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.restart()

    @property
    def disk(self) -> Disk:
        return self.world.disks[self.name]

    def restart(self) -> None:
        self.roller: Any = FakeRoller()
        self.ran: list[int] = []  # generations that it was made a member by
        disk = self.disk
        disk.record = records.loaded(disk.record, disk.copy, damaged=disk.secrets is not None)
        parts = Parts(
            distribution=FakeCluster(self.world, self.name), siblings=Talk(self.world, self.name),
            records=Records(self.world, self.name), secrets=Secrets(self.world, self.name),
            gate=Gate(self.world, self.name),
            settle=self._settle, make=self._make, clock=self.world, log=structlog.get_logger(),
            roller=lambda: self.roller, upgrading=self._upgrading,
            ran=lambda epoch, generation: self.ran.append(generation), reached=lambda: self.world.reached,
        )  # fmt: skip
        worker = self.world.site(self.name).is_worker
        self.former = WorkerFormer(parts) if worker else Former(parts)
        self.usher = Usher(
            parts.distribution, JoinLease(self.world), self.world, site=lambda: self.world.site(self.name),
            member=lambda: self.former.member == self.world.epoch, log=structlog.get_logger(),
        )  # fmt: skip
        self.reason = NOTHING
        self.settled = 0

    async def turn(self, clock: Reason = NOTHING) -> None:
        try:
            self.reason = await self.former.turn(self.world.site(self.name), clock)
            if (task := self.former._task) is not None:
                await asyncio.wait([task])
                if isinstance(error := task.exception(), Crash):
                    raise error
        except Crash:
            self.world.cluster(self.world.epoch).joining.discard(f"nuc-{self.name}")
            self.restart()
        self.world.check()

    async def _upgrading(self) -> str:
        return self.world.upgrading

    async def _settle(self, plan: ClusterPlan) -> None:
        self.world.point()
        assert (plan.secrets is None) == self.world.site(self.name).is_worker
        assert plan.node in self.world.cluster(plan.epoch).members, "settled before it was a member"
        self.settled += 1

    def _make(self, site: str, epoch: int) -> SiteSecrets:
        self.world.marks += 1
        return secrets_of(site, epoch, self.world.marks)


@dataclass
class Records:
    world: World
    name: str

    @property
    def record(self) -> Record:
        return self.world.disks[self.name].record

    @record.setter
    def record(self, record: Record) -> None:
        raise AssertionError("only by save")

    @property
    def kept(self) -> bool:
        return is_kept(self.record, self.world.disks[self.name].copy)

    def save(self, record: Record) -> None:
        self.world.point()
        self.world.disks[self.name].record = record
        self.world.point()
        self.world.disks[self.name].copy = record
        self.world.point()


@dataclass
class Secrets:
    world: World
    name: str

    @property
    def secrets(self) -> SiteSecrets | None:
        return self.world.disks[self.name].secrets

    def save(self, secrets: SiteSecrets) -> None:
        held = self.secrets
        assert held is None or held == secrets or held.epoch < secrets.epoch, "the store refuses other secrets"
        self.world.point()
        self.world.disks[self.name].secrets = secrets
        self.world.point()

    def clear(self) -> None:
        self.world.point()
        self.world.disks[self.name].secrets = None
        self.world.point()


@dataclass
class Talk:
    world: World
    name: str

    async def status(self, member: Member) -> FormationStatus:
        self.world.talk(self.name, member.node)
        said = self.world.nodes[member.node].former.status(self.world.site(member.node))
        assert said is not None
        return said

    async def secrets(self, member: Member, site: str, epoch: int) -> SiteSecrets:
        self.world.talk(self.name, member.node)
        assert not self.world.site(self.name).is_worker, "a worker asks for the site's secrets"
        found = self.world.nodes[member.node].former.offered()
        if found is None or found.epoch != epoch:
            raise Rejected("none here")
        return found

    async def access(self, member: Member, epoch: int) -> NodeAccess:
        self.world.talk(self.name, member.node)
        other = self.world.nodes[member.node].former
        found = other.offered()
        if found is None or found.epoch != epoch or not other.member:
            raise Rejected("no member of that epoch")
        return NodeAccess(authority=found.token, key="key", kubelet="cert", commander="cert")

    async def slot(self, member: Member, request: SlotRequest) -> SlotAnswer:
        self.world.talk(self.name, member.node)
        return await self.world.nodes[member.node].usher.ask(self.name, request)


@dataclass
class JoinLease:
    world: World

    async def holder(self) -> Held:
        return self.world.cluster(self.world.epoch).holder

    async def take(self, name: str) -> bool:
        cluster = self.world.cluster(self.world.epoch)
        cluster.holder = Held(name, cluster.holder.turn + 1)
        return True


class FakeCluster:
    """A distribution as level-triggered as the port asks for: one cluster an epoch, which knows its members."""

    name = "fake"

    def __init__(self, world: World, node: str) -> None:
        self.world, self.node = world, node

    async def init(self, plan: ClusterPlan) -> None:
        assert plan.secrets is not None and not plan.servers
        cluster, disk = self.world.cluster(plan.epoch), self.world.disks[self.node]
        assert disk.began in (None, ("init", plan.epoch)), f"begun over {disk.began}"
        self.world.point()
        disk.began, disk.runs = ("init", plan.epoch), True
        cluster.inits.append(self.node)
        self.world.point()
        cluster.members.setdefault(plan.node, int(plan.secrets.token, 16))
        self.world.point()

    async def join(self, plan: ClusterPlan) -> None:
        assert plan.servers and (plan.secrets is None) != (plan.access is None)
        mark = int(plan.secrets.token if plan.secrets is not None else plan.access.authority, 16)  # type: ignore[union-attr]
        if plan.access is not None:
            self.world.doors[self.node] = next(iter(plan.servers))
            if self.world.disks[self.node].began is not None and plan.node in self.world.cluster(plan.epoch).members:
                return  # it goes by another server now
        if plan.node in self.world.unfit:
            raise Rejected("its programs are not there")
        cluster, disk = self.world.cluster(plan.epoch), self.world.disks[self.node]
        cluster.joining.add(plan.node)
        cluster.most_joining = max(cluster.most_joining, len(cluster.joining))
        self.world.point()
        assert disk.began in (None, ("join", plan.epoch), ("init", plan.epoch)), f"joined over {disk.began}"
        fresh = disk.began is None
        assert not (fresh and plan.node in cluster.members), "a ghost is in the way: the join hangs"
        disk.began, disk.runs = ("join", plan.epoch), True
        await asyncio.sleep(0)
        self.world.point()
        cluster.members[plan.node] = mark
        cluster.joining.discard(plan.node)
        self.world.point()

    async def members(self) -> list[ClusterMember]:
        if self.node in self.world.mute:
            raise Retryable("the API server does not answer")
        names = sorted(self.world.cluster(self.world.epoch).members)
        workers = {one.name for one in self.world.workers}
        return [ClusterMember(name=name, ready=self._runs(name), server=name not in workers) for name in names]

    def _runs(self, name: str) -> bool:
        return any(
            one.name == name and self.world.disks[one.node].began is not None
            for one in self.world.site(self.node).members
        )

    async def remove(self, member: str) -> None:
        assert not self._runs(member), f"{member} is well, and is taken out"
        self.world.cluster(self.world.epoch).members.pop(member, None)

    async def stop(self) -> None:
        self.world.point()
        if self.node in self.world.stuck:
            raise Retryable("a process does not end")
        self.world.disks[self.node].runs = False
        self.world.point()

    async def reset(self) -> None:
        self.world.point()
        self.world.disks[self.node].began, self.world.disks[self.node].runs = None, False
        self.world.point()

    async def snapshots(self) -> list[Snapshot]:
        return list(self.world.disks[self.node].snapshots)

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        if self.world.unfit_restore:
            raise Retryable("etcdutl failed")
        self.world.cluster(plan.epoch).restored.add(snapshot)
        await self.init(plan)

    async def health(self) -> ClusterHealth:
        door = self.world.doors.get(self.node)
        servers = {one.address or self.world.reached[one.node]: one.node for one in self.world.roster}
        return ClusterHealth(api=door is None or (door in servers and servers[door] not in self.world.off))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AssertionError(f"{name} is not asked for here")


def stages(world: World) -> list[Stage]:
    return [disk.record.stage for disk in world.disks.values()]
