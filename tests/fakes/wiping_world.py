"""A node that is wiped, in one process: its root half, cluster, endpoint and `ident`; it crashes at any point."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.identity import Member, SiteDocument
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.messages import CommandResult, NodeState
from agents.contracts.wipe import WipeGrant
from agents.core.command_rules import RULES
from agents.core.command_verify import read_command
from agents.core.errors import Rejected, Retryable
from edge_commander import ledger as ledgers
from edge_commander.distribution.port import ClusterMember
from edge_commander.ledger import Ledger
from edge_commander.machine.wire import ARM, OPERATIONS, OUTBOXES, REBOOT, REPORTED, WIPE_STATE
from edge_commander.memory import Memory
from edge_commander.reasons import NodeRecord
from edge_commander.rolling.pods import Pod
from edge_commander.settings import WipeSettings
from edge_commander.states import Event
from edge_commander.wiping.after import After
from edge_commander.wiping.duty import Duty, DutyFile
from edge_commander.wiping.means import Means
from edge_commander.wiping.shell import Wiper
from tests.fakes import wipe_kit as kit

QUIET = structlog.wrap_logger(structlog.ReturnLogger())
ME, SIBLINGS = "nuc-1", ("nuc-2", "nuc-3")
RUN = "0123456789abcdef"
SETTINGS = WipeSettings(turn_seconds=60.0, drain_seconds=20.0, outbox_seconds=20.0)


class Crash(BaseException):
    """The power is gone at this very point."""


@dataclass
class World:
    """What outlives a process and a boot. `phase`: of the journal, empty for none; `ends`: what early boot makes of an
    armed one. `unready`: siblings that are down; `stuck`: pods that never go; `deaf`: the endpoint acknowledges
    nothing; `silent`: nobody answers (`api`, `endpoint`, `machine`, `snapshot`). `crash_at`: the point that crashes."""

    folder: Path
    seed: int = 0
    crash_at: int = -1
    chance: float = 0.0
    phase: str = ""
    journal_id: str = ""
    reported: bool = False
    ends: str = "done"
    lease: str = ""
    busy: str = ""
    granted_to: str = ""
    grant_why: str = ""
    cordoned: bool = False
    pods: int = 2
    stuck: bool = False
    deaf: bool = False
    unready: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    alone: bool = False
    worker: bool = False
    ready: bool = True
    erased: int = 0
    boots: int = 0
    down: bool = False
    now: float = 0.0
    points: int = 0
    crashes: int = 0
    snapshots: int = 0
    declared: list[tuple[Stream, Any]] = field(default_factory=list)
    results: list[CommandResult] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        memory = Memory(self.folder)
        memory.save_record(NodeRecord(state=NodeState.READY, node=kit.NODE, site=kit.SITE))
        roster = [Member(node=kit.NODE if name == ME else f"n-{name[-1] * 16}", name=name) for name in (ME, *SIBLINGS)]
        memory.save_site(
            SiteDocument(generation=1, site=kit.SITE, node=kit.NODE, labels={}, endpoints=[], roster=roster)
        )
        self.start()

    def point(self, what: str = "") -> None:
        self.points += 1
        if self.points == self.crash_at or self.random.random() < self.chance:
            self.crashes += 1
            raise Crash(what)

    def monotonic(self) -> float:
        return self.now

    def start(self) -> None:
        self.memory = Walked(self)
        self.duties = WalkedDuties(self)
        means = Means(
            settings=SETTINGS, memory=self.memory, machine=FakeMachine(self), distribution=FakeDistribution(self),
            cluster=FakeCluster(self), grant=self.grant, declare=self.declare, duties=self.duties,
            boot_id=f"boot-{self.boots}", clock=self, now_ms=lambda: 1_000_000 + int(self.now * 1000), log=QUIET,
        )  # type: ignore[arg-type]  # fmt: skip
        self.wiper, self.after = Wiper(means), After(means, self.pending)

    async def pending(self) -> int:
        return 0

    def command(self, targets: tuple[str, ...] = ("var", "conf"), verb: Verb = Verb.WIPE, **args: str) -> Command:
        """Taken, as CommandLoop does."""
        command = kit.command(targets=list(targets), verb=verb, args=args)
        signed = kit.signed(targets=list(targets), verb=verb, args=args)
        self.memory.plain_ledger(ledgers.take(self.memory.ledger, command, signed))
        return command

    async def grant(self, command_id: str) -> WipeGrant:
        self.point("grant")
        self.answers("endpoint")
        if self.grant_why:
            return WipeGrant(granted=False, why=self.grant_why)
        self.granted_to = command_id
        self.point("granted")
        return WipeGrant(granted=True, holder=kit.NODE)

    async def declare(self, stream: Stream, request: IngestRequest) -> IngestAnswer:
        self.point("declare")
        self.answers("endpoint")
        self.declared.append((stream, (request.run, request.dropped)))
        return IngestAnswer(ack=0, have=[], rejected=[], server_time=0)

    def answers(self, who: str) -> None:
        if who in self.silent:
            raise Retryable(f"the {who} does not answer")

    async def turn(self) -> None:
        """One look of CommandLoop at the command in hand, and of the loop that looks after what is owed."""
        try:
            await self._turn()
        except Crash:
            self.start()
        except Retryable:
            pass
        if self.down:
            self.boot()
        self.now += 1.0

    async def _turn(self) -> None:
        taken = self.memory.ledger.current
        if taken is None:
            await self.after.look()
            return
        if not taken.outcome:
            outcome = await self.wiper.turn(taken.command)
            if outcome is None:
                return
            self.memory.save_ledger(ledgers.ended(self.memory.ledger, outcome.result, outcome.detail))
            taken = self.memory.ledger.current
            assert taken is not None
        self.results.append(
            CommandResult(
                command_id=taken.command.id, verb=taken.command.verb.value, outcome=taken.outcome, detail=taken.detail
            )
        )
        self.granted_to = ""
        self.memory.save_ledger(ledgers.answered(self.memory.ledger))

    def boot(self) -> None:
        """Early boot, and the start; then the short path of enrolment and formation, where the state asks for it."""
        self.down = False
        self.boots += 1
        if self.phase == "armed" and self.ends:
            self.phase = self.ends
            if self.ends == "done":
                self.erased += 1
                self.cordoned, self.ready = False, False
        self.start()

    def comes_back(self) -> None:
        """What NodeLoop and formation make of a node in the state of enrolment."""
        if self.memory.record.state is NodeState.ENROLLING:
            record = self.memory.record
            for event in (Event.ENROLLED, Event.SITE_KNOWN, Event.FORMED):
                record = record.happened(event, 0)
            self.memory.plain_record(record)
            self.ready = True

    async def until_quiet(self, turns: int = 400) -> None:
        """Until nothing is in hand and nothing owed."""
        for _ in range(turns):
            await self.turn()
            self.comes_back()
            if self.memory.ledger.current is None and self.duties.duty is None:
                return
        raise AssertionError(f"not at an end: {self.memory.ledger.current}, {self.duties.duty}, {self.memory.record}")


class Walked(Memory):
    """Crashes before and after each write."""

    def __init__(self, world: World) -> None:
        super().__init__(world.folder)
        self.world = world

    def save_record(self, record: NodeRecord) -> None:
        self.world.point("record")
        super().save_record(record)
        self.world.point("recorded")

    def save_ledger(self, ledger: Ledger) -> None:
        self.world.point("ledger")
        super().save_ledger(ledger)
        self.world.point("ledger saved")

    def plain_record(self, record: NodeRecord) -> None:
        super().save_record(record)

    def plain_ledger(self, ledger: Ledger) -> None:
        super().save_ledger(ledger)


class WalkedDuties(DutyFile):
    """The same of what is owed."""

    def __init__(self, world: World) -> None:
        super().__init__(world.folder)
        self.world = world

    def save(self, duty: Duty) -> None:
        self.world.point("duty")
        super().save(duty)
        self.world.point("duty saved")

    def clear(self) -> None:
        self.world.point("clear")
        super().clear()
        self.world.point("cleared")


@dataclass
class FakeMachine:
    """The root half, held to the closed list."""

    world: World

    async def ask(self, operation: str, argument: str = "", command: SignedCommand | None = None) -> Any:
        world = self.world
        assert (command is not None) == OPERATIONS[operation].command
        world.point(operation)
        world.answers("machine")
        match operation:
            case "wipe-state":
                assert operation == WIPE_STATE
                return self.record() if world.phase else None
            case "outboxes":
                assert operation == OUTBOXES
                ranges = [[2, 3]] if world.deaf else []
                return [{"stream": "heartbeat", "problem": "", "runs": [{"run": RUN, "next": 6, "ranges": ranges}]}]
            case "arm":
                assert operation == ARM and command is not None
                self.arm(read_command(command))
            case "reported":
                assert operation == REPORTED
                assert world.journal_id == argument
                world.reported = True
            case _:
                assert operation == REBOOT
                assert world.phase == "armed", "nothing is armed, and the machine starts anew"
                world.down = True
        world.point(f"{operation} done")
        return world.phase or None

    def arm(self, command: Command) -> None:
        world = self.world
        if world.phase and world.journal_id == command.id:
            return
        if world.phase in ("armed", "running"):
            raise Rejected("the journal holds another wipe")
        assert "ident" not in command.targets or command.verb is Verb.RETIRE
        assert command.verb in RULES
        world.steps.append(f"armed with {world.pods} pods, lease {world.lease or 'free'}")
        world.phase, world.journal_id = "armed", command.id

    def record(self) -> dict[str, Any]:
        unsent = [{"stream": "heartbeat", "run": RUN, "ranges": [[2, 3]]}] if self.world.deaf else []
        return {"phase": self.world.phase, "id": self.world.journal_id, "problem": "why", "unsent": unsent}


@dataclass
class FakeDistribution:
    """Its members, and a snapshot."""

    world: World

    async def members(self) -> list[ClusterMember]:
        world = self.world
        world.answers("api")
        names = (ME,) if world.alone else (ME, *SIBLINGS)
        return [
            ClusterMember(
                name=name, ready=world.ready if name == ME else name not in world.unready,
                server=not (world.worker and name == ME),
            )
            for name in names
        ]  # fmt: skip

    async def snapshot(self, name: str) -> str:
        self.world.answers("snapshot")
        self.world.snapshots += 1
        return f"/keep/{name}"


@dataclass
class FakeCluster:
    """Lease, cordon and pods."""

    world: World

    async def holder(self) -> str:
        self.world.answers("api")
        return self.world.lease

    async def take(self, node: str, command_id: str) -> bool:
        self.world.point("take")
        self.world.lease = node
        self.world.point("taken")
        return True

    async def give_back(self, node: str) -> bool:
        self.world.point("give back")
        if self.world.lease == node:
            self.world.lease = ""
        self.world.point("given back")
        return True

    async def busy(self, me: str, members: Sequence[ClusterMember], names: Collection[str]) -> str:
        return self.world.busy

    async def cordon(self, name: str, word: object) -> None:
        self.world.point("cordon")
        self.world.cordoned = True
        self.world.point("cordoned")

    async def uncordon(self, name: str) -> None:
        self.world.point("uncordon")
        self.world.cordoned = False
        self.world.point("uncordoned")

    async def evict(self, name: str) -> list[Pod]:
        self.world.point("evict")
        left = [Pod("shop", f"till-{n}", str(n)) for n in range(self.world.pods)]
        if not self.world.stuck:
            self.world.pods = max(0, self.world.pods - 1)
        return left


def shown(world: World) -> list[tuple[str, str]]:
    """The answers."""
    return [(one.command_id, one.outcome) for one in world.results]
