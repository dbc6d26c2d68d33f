"""A formed site in one process whose nodes are told to join anew: disks that survive a crash, one Lease, pods."""

from __future__ import annotations

import structlog

from agents.contracts.command import Command, Verb
from agents.contracts.messages import NodeState
from agents.core.errors import Retryable
from edge_commander.acts.away import Seen
from edge_commander.acts.rejoin import Means, Rejoins
from edge_commander.acts.store import Act, Acts
from edge_commander.reasons import NodeRecord, Reason
from edge_commander.rolling.pods import Pod
from edge_commander.states import Event
from edge_commander.turns import Turns, busy
from edge_commander.verbs import Handler, Outcome, run
from tests.fakes.formation_world import Crash, Node, World

QUIET = structlog.wrap_logger(structlog.ReturnLogger())
DRAIN_SECONDS = 30.0


def command(verb: Verb, number: int = 1) -> Command:
    return Command(
        id=f"{number:032x}", verb=verb, site="store-1", node="n-abcdefghij234567", sequence=number, challenge="c",
        issued=1, expires=2,
    )  # fmt: skip


class DiskStore:
    """`acts.json`; `point` may crash around a write."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world
        self.acts = Acts()

    def of(self, command: str) -> Act | None:
        act = self.acts.act
        return act if act is not None and act.id == command else None

    def save(self, acts: Acts) -> None:
        if self.world is not None:
            self.world.point()
        self.acts = acts
        if self.world is not None:
            self.world.point()


class Shared:
    """What the cluster holds besides its members: whose turn it is to leave, cordons, pods, and who answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.leaving = ("", "")
        self.marked: set[str] = set()
        self.stuck = False
        self.pods = dict.fromkeys((f"nuc-{name}" for name in world.names), 2)
        self.most_away = 0


class Box:
    """One node with its command in hand, across crashes."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.shared, self.world, self.name = shared, shared.world, name
        self.store = DiskStore(self.world)
        self.record = NodeRecord(state=NodeState.READY)
        self.command: Command | None = None
        self.answers: list[Outcome] = []
        self.start()

    @property
    def node(self) -> Node:
        return self.world.nodes[self.name]

    @property
    def me(self) -> str:
        return f"nuc-{self.name}"

    def start(self) -> None:
        self.former = self.node.former
        self.rejoins = Rejoins(
            Means(
                store=self.store, memory=self, formation=self, cluster=self, own=self, me=lambda: self.me,
                now_ms=lambda: 1, clock=self.world, drain_seconds=DRAIN_SECONDS, log=QUIET,
            )
        )  # fmt: skip

    async def turn(self) -> None:
        """As the node's loop and the commands' loop do."""
        await self.node.turn()
        if self.node.former is not self.former:
            self.start()
        if self.record.state is NodeState.FORMING and self.node.former.member:
            self.save_record(self.record.happened(Event.FORMED, 1))
        if self.command is None:
            return
        try:
            found = await run(Handler(self.rejoins.execute), self.command)
            self.world.point()
        except Crash:
            self.node.restart()
            self.start()
            return
        if found is not None:
            self.answers.append(found)
            self.command = None

    def save_record(self, record: NodeRecord) -> None:
        self.record = record

    @property
    def is_member(self) -> bool:
        return self.node.former.member == self.world.epoch

    @property
    def left(self) -> str:
        return self.node.former.left

    def leave(self, command: str) -> Reason:
        return self.node.former.leave(self.world.site(self.name), command)

    async def see(self, me: str) -> Seen:
        if self.world.disks[self.name].began is None:
            raise Retryable("the API server does not answer")
        members = await self.node.former._p.distribution.members()
        turns = Turns(leaving=self.shared.leaving[0], upgrading=self.world.upgrading)
        return Seen(members, busy(turns, me, members))

    async def has_leave(self, me: str, command: str) -> bool:
        if self.world.disks[self.name].began is None:
            raise Retryable("the API server does not answer")
        return self.shared.leaving == (me, command)

    async def take_leave(self, me: str, command: str) -> bool:
        self.world.point()
        if self.shared.leaving[0] not in ("", me):
            return False
        self.shared.leaving = (me, command)
        self.world.point()
        return True

    async def give_leave_back(self, me: str, command: str) -> None:
        self.world.point()
        if self.shared.leaving == (me, command):
            self.shared.leaving = ("", "")
        self.world.point()

    async def cordon(self, name: str, word: object) -> None:
        self.world.point()
        self.shared.marked.add(name)

    async def uncordon(self, name: str) -> None:
        self.world.point()
        self.shared.marked.discard(name)
        self.world.point()

    async def evict(self, name: str) -> list[Pod]:
        left = self.shared.pods[name]
        self.shared.pods[name] = left if self.shared.stuck else max(0, left - 1)
        return [Pod("shop", f"till-{i}", f"u{i}") for i in range(self.shared.pods[name])]


class ActsWorld:
    """A site that is formed; `told`: the nodes that are to join anew."""

    def __init__(self, count: int = 3, seed: int = 0, *, workers: int = 0) -> None:
        self.world = World(count, seed, workers=workers)
        self.servers = self.world.names[:count]
        self.boxes: dict[str, Box] = {}

    async def form(self) -> None:
        await self.world.round(60)
        assert self.world.formed()
        self.shared = Shared(self.world)
        self.boxes = {name: Box(self.shared, name) for name in self.world.names}
        self.world.points = 0

    async def round(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            order = [name for name in self.world.names if name not in self.world.off]
            self.world.random.shuffle(order)
            for name in order:
                await self.boxes[name].turn()
                self.check()
            self.world.now += 3.0

    def check(self) -> None:
        """What must hold at every moment."""
        self.world.check()
        away = [name for name in self.servers if self.world.disks[name].began is None or not self.boxes[name].is_member]
        self.shared.most_away = max(self.shared.most_away, len(away))
        assert len(away) <= 1, f"{away} are away at once"

    @property
    def clean(self) -> bool:
        """Nothing of ours is left behind, and the site is whole."""
        whole = self.world.formed() and all(box.record.state is NodeState.READY for box in self.boxes.values())
        return whole and not self.shared.marked and self.shared.leaving == ("", "")
