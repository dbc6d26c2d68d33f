"""The shell of plan.py: gathers the facts, takes the one step. Touches cluster, endpoint and the machine's root half.

Level-triggered: a turn may be the first after any crash. What must outlive one lies in the ledger (the command), on
`ident` (duty.py), in the cluster (Lease, cordon), at the endpoint (grant) and, from the arming on, on the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.messages import NodeState
from agents.contracts.wipe import Target, WipeGrant
from agents.core.command_rules import SNAPSHOT, rebuilds
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from edge_commander import ledger as ledgers
from edge_commander.distribution.port import ClusterMember, Distribution
from edge_commander.forming import own_name
from edge_commander.machine.wire import ARM, OUTBOXES, REBOOT, WIPE_STATE
from edge_commander.memory import Memory
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rolling.pods import Pod
from edge_commander.settings import WipeSettings
from edge_commander.states import Event
from edge_commander.verbs import Outcome
from edge_commander.wiping import plan as plans
from edge_commander.wiping.duty import Duty, DutyFile
from edge_commander.wiping.outboxes import Heard, declarations, lost
from edge_commander.wiping.plan import Facts, Grant, Journal, next_step
from edge_commander.wiping.quorum import cost

SNAPSHOT_SECONDS = 900.0
REBOOT_AGAIN = 180.0
"""A machine that still runs so long after it was told to start anew is told again, s."""
MAX_STEPS = 16
"""In one turn; the rest in the next."""
NAMED = 10
"""So many pods are named."""


class Machine(Protocol):
    """See machine/client.py."""

    async def ask(self, operation: str, argument: str = "", command: SignedCommand | None = None) -> Any:
        """Raises Retryable, Rejected."""


class Cluster(Protocol):
    """See cluster.py. Each raises Retryable or Rejected."""

    async def holder(self) -> str:
        """Of the Lease."""

    async def take(self, node: str, command_id: str) -> bool:
        """The Lease."""

    async def give_back(self, node: str) -> bool:
        """The Lease."""

    async def busy(self, me: str, ready: Collection[str], names: Collection[str]) -> str:
        """Who joins, is upgraded or renews."""

    async def cordon(self, name: str, word: object) -> None:
        """And marks."""

    async def uncordon(self, name: str) -> None:
        """Where it is marked."""

    async def evict(self, name: str) -> list[Pod]:
        """Those still there."""


@dataclass(frozen=True)
class Means:
    """What a wipe works with. `cluster` None where the cluster is kept by others; `grant` asks the endpoint;
    `declare` tells it what was lost, as the stream's own daemon; `now_ms` by the endpoint's time."""

    settings: WipeSettings
    memory: Memory
    machine: Machine
    distribution: Distribution
    cluster: Cluster | None
    grant: Callable[[str], Awaitable[WipeGrant]]
    declare: Callable[[Stream, IngestRequest], Awaitable[IngestAnswer]]
    duties: DutyFile
    boot_id: str
    clock: Clock
    now_ms: Callable[[], int]
    log: FilteringBoundLogger


@dataclass
class _Own:
    """What this process knows of one command. A crash forgets it: everything in it is asked for, or done, again."""

    command_id: str
    since: float
    journal: Mapping[str, Any] | None = None
    looked: bool = False
    grant: WipeGrant | None = None
    snapshot: asyncio.Task[str] | None = None
    cordoned: bool = False
    drain_began: float | None = None
    drained: bool = False
    left: Sequence[str] = ()
    heard: Heard | None = None
    over: bool = False
    declared: bool = False
    rebooted: float | None = None
    failed: Outcome | None = None


@dataclass
class Wiper:
    """One node's wipe. `turn` is one look, and is called until it answers. `reason`: how far it is."""

    means: Means
    reason: Reason = NOTHING
    _own: _Own | None = None
    _told: str = field(default="")

    async def turn(self, command: Command) -> Outcome | None:
        """One look and the steps that can be taken now; None: not ended. Raises Retryable when the disk cannot be
        written."""
        own, taken = self._begun(command), self.means.memory.ledger.current
        if taken is None or taken.signed is None:
            return Outcome("failed", "an older version took it, and did not keep its signature: send it again")
        try:
            return await self._steps(command, taken.signed, own)
        except GalleyError as error:
            return self._troubled(own, error)

    async def _steps(self, command: Command, signed: SignedCommand, own: _Own) -> Outcome | None:
        for _ in range(MAX_STEPS):
            step = next_step(await self._facts(command, own))
            self._say(command, step)
            if isinstance(step, plans.End):
                return self._answered(own, step)
            if isinstance(step, plans.Wait):
                self.reason = step.reason
                return None
            if not await self._take(step, command, signed, own) or own.failed is not None:
                return own.failed
        return None

    def _begun(self, command: Command) -> _Own:
        m = self.means
        if self._own is None or self._own.command_id != command.id:
            self._own = _Own(command.id, m.clock.monotonic())
            self.reason = Reason(Why.WIPING, "an operator's command was taken")
        duty = m.duties.duty
        if duty is None or duty.command_id != command.id:
            name = own_name(m.memory.site, m.memory.record.node or "") or ""
            m.duties.save(Duty(command_id=command.id, node=name, retire=command.verb is Verb.RETIRE))
        return self._own

    @property
    def _duty(self) -> Duty:
        assert self.means.duties.duty is not None
        return self.means.duties.duty

    def _note(self, **changed: Any) -> None:
        self.means.duties.save(msgspec.structs.replace(self._duty, **changed))

    def _troubled(self, own: _Own, error: GalleyError) -> Outcome | None:
        """Something did not answer. Before the arming it is waited for as long as the settings say."""
        m = self.means
        if self._told != str(error):
            self._told = str(error)
            m.log.warning("the wipe waits", cause=self._told)
        self.reason = Reason(Why.WIPING, f"waits: {error}"[:300])
        over = m.clock.monotonic() - own.since >= m.settings.turn_seconds
        if self._duty.arming or not (over or isinstance(error, Rejected)):
            return None
        self.reason = NOTHING
        return Outcome("failed", str(error))

    def _answered(self, own: _Own, end: plans.End) -> Outcome:
        self.reason = NOTHING
        left = f"; pods that did not go: {', '.join(own.left[:NAMED])}" if own.left else ""
        return Outcome(end.result, end.detail + left)

    def _say(self, command: Command, step: plans.Step) -> None:
        told = f"{command.id} {step.describe()}"
        if told != self._told:
            self._told = told
            self.means.log.info("wipe", audit=True, id=command.id, step=step.describe())

    async def _facts(self, command: Command, own: _Own) -> Facts:
        m, duty = self.means, self._duty
        if not own.looked:
            own.journal = _of(await m.machine.ask(WIPE_STATE), command.id)
            own.looked = True
        state = m.memory.record.state
        if own.journal is not None:
            return self._armed_facts(command, own, state)
        now = m.clock.monotonic()
        seen = await self._cluster_facts(command, own, state)
        return _facts_of(
            seen,
            retire=command.verb is Verb.RETIRE,
            rebuild=rebuilds(command),
            state=state,
            me=duty.node,
            grant=_grant_of(own.grant),
            grant_why=own.grant.why if own.grant is not None else "",
            snapshot=_ended(own.snapshot),
            snapshot_problem=_problem(own.snapshot),
            cordoned=own.cordoned,
            drained=own.drained,
            heard=own.over or Target.VAR.value not in command.targets,
            waited=now - own.since,
            patience=m.settings.turn_seconds,
        )

    def _armed_facts(self, command: Command, own: _Own, state: NodeState) -> Facts:
        m, duty = self.means, self._duty
        if not duty.arming or duty.boot != m.boot_id:
            self._note(arming=True, boot=m.boot_id, boots=duty.boots + (duty.boot not in ("", m.boot_id)))
        assert own.journal is not None
        again = own.rebooted is not None and m.clock.monotonic() - own.rebooted < REBOOT_AGAIN
        unsent = bool(own.journal.get("unsent")) and not own.declared
        return Facts(
            retire=command.verb is Verb.RETIRE,
            state=state,
            me=duty.node,
            journal=Journal(str(own.journal["phase"]), str(own.journal.get("problem", "")), unsent),
            boots=self._duty.boots,
            rebooting=again,
            ended=duty.ended,
        )

    async def _cluster_facts(self, command: Command, own: _Own, state: NodeState) -> dict[str, Any]:
        """What the cluster says. One that this node was never a Ready member of is not asked."""
        m, me = self.means, self._duty.node
        api = True
        members: Sequence[ClusterMember] = ()
        try:
            members = await m.distribution.members()
        except Retryable:
            api = False
        mine = next((one for one in members if one.name == me), None)
        inside = state is NodeState.READY or mine is not None
        server = mine is not None and mine.server
        found = {
            "kept_here": m.cluster is not None, "in_cluster": inside, "api": api, "server": server,
            "quorum": cost(me, members),
            "snapshot_due": self._snapshot_due(command, inside and (server or not api)),
        }  # fmt: skip
        if m.cluster is None or not (inside and api and server) or rebuilds(command):
            return found
        names = {one.name for one in m.memory.site.roster} if m.memory.site is not None else set[str]()
        holder = await m.cluster.holder()
        stale = holder not in names and not any(one.name == holder for one in members)
        busy = await m.cluster.busy(me, {one.name for one in members if one.ready}, names)
        return found | {"holder": holder, "stale": stale, "busy": busy}

    def _snapshot_due(self, command: Command, server: bool) -> bool:
        kept = Target.KEEP.value not in command.targets  # else it would go with what it lies on
        wanted = self.means.settings.snapshot == "always" and command.args.get(SNAPSHOT) != "no"
        return wanted and server and kept and self.means.cluster is not None

    async def _take(self, step: plans.Do | plans.Move, command: Command, signed: SignedCommand, own: _Own) -> bool:
        """One step; False where it goes on beside the turns. Raises Retryable, Rejected."""
        if isinstance(step, plans.Move):
            self._move(step, command, own)
            return True
        self.reason = Reason(Why.WIPING, step.what)
        done = await self._do(step.what, command, signed, own)
        if done:
            own.since = self.means.clock.monotonic()
        return done

    async def _do(self, what: str, command: Command, signed: SignedCommand, own: _Own) -> bool:
        m, me = self.means, self._duty.node
        match what:
            case "take the lease":
                assert m.cluster is not None
                return await m.cluster.take(me, command.id)
            case "ask for the grant":
                own.grant = await m.grant(command.id)
            case "take a snapshot":
                return await self._snapshot(command, own)
            case "cordon":
                assert m.cluster is not None
                await m.cluster.cordon(me, command.id)
                own.cordoned = True
            case "drain":
                return await self._drain(own)
            case "wait for the outboxes":
                return await self._listen(own)
            case "arm":
                await self._arm(signed, own)
            case "reboot":
                await m.machine.ask(REBOOT)
                own.rebooted = m.clock.monotonic()
            case _:
                await self._declare(own)
        return True

    async def _snapshot(self, command: Command, own: _Own) -> bool:
        """Beside the turns: it may take minutes."""
        if own.snapshot is None:
            own.snapshot = asyncio.create_task(self._kept(f"wipe-{command.id[:12]}"), name="snapshot before a wipe")
        await asyncio.wait([own.snapshot], timeout=0.5)
        return own.snapshot.done()

    async def _kept(self, name: str) -> str:
        try:
            async with asyncio.timeout(SNAPSHOT_SECONDS):
                return await self.means.distribution.snapshot(name)
        except TimeoutError:
            raise Retryable(f"not within {SNAPSHOT_SECONDS:.0f} s") from None

    async def _drain(self, own: _Own) -> bool:
        m, now = self.means, self.means.clock.monotonic()
        assert m.cluster is not None
        own.drain_began = now if own.drain_began is None else own.drain_began
        try:
            left = [one.text for one in await m.cluster.evict(self._duty.node)]
        except Retryable:
            left = ["unknown, the API did not answer"]
        if left and now - own.drain_began < m.settings.drain_seconds:
            self.reason = Reason(Why.WIPING, f"{len(left)} pods are to go to other nodes")
            return False
        own.drained, own.left = True, left
        if left:
            m.log.warning("pods did not go in time", audit=True, pods=left[:NAMED], count=len(left))
        return True

    async def _listen(self, own: _Own) -> bool:
        """Until all that was said by now is acknowledged, or the time is over."""
        m, now = self.means, self.means.clock.monotonic()
        try:
            found = await m.machine.ask(OUTBOXES)
        except Retryable:
            found = None
        if own.heard is None:
            own.heard = Heard.first(found, now)
        left = own.heard.left(found)
        if left and now - own.heard.began < m.settings.outbox_seconds:
            self.reason = Reason(Why.WIPING, f"to be acknowledged: {', '.join(left)}")
            return False
        if left:
            m.log.warning("what was not acknowledged goes with the wipe", audit=True, streams=left)
        own.over = True
        return True

    async def _arm(self, signed: SignedCommand, own: _Own) -> None:
        """From here on a crash must find out by the journal whether it was armed."""
        self._note(arming=True, boot=self.means.boot_id)
        own.looked = False  # whatever becomes of the answer, the journal is looked at
        try:
            await self.means.machine.ask(ARM, command=signed)
        except Rejected as error:
            self._note(arming=False, boot="")
            own.failed = Outcome("failed", f"it could not be armed: {error}")
        else:
            self.means.log.warning("the wipe is armed", audit=True, id=own.command_id)

    async def _declare(self, own: _Own) -> None:
        assert own.journal is not None
        for stream, request in declarations(own.journal):
            try:
                await self.means.declare(stream, request)
            except Rejected as error:  # it is told in the answer's place, and stops nothing
                self.means.log.warning("a loss could not be declared", stream=stream.value, cause=str(error))
        own.declared = True
        self.means.log.info("what the wipe lost was declared", audit=True, ranges=lost(own.journal))

    def _move(self, step: plans.Move, command: Command, own: _Own) -> None:
        """The node's state follows the journal. Raises Retryable."""
        memory, now = self.means.memory, self.means.now_ms()
        if Event.WIPED in step.events:
            memory.save_ledger(ledgers.republished(memory.ledger))
        before = memory.record.state
        record = memory.record
        for event in step.events:
            record = record.happened(event, now, self._why(event, command, own))
        memory.save_record(record)
        if not step.events or step.events[-1] not in (Event.WIPE_ARMED, Event.RETIRED):
            self._note(ended=True)
        events = [one.value for one in step.events]
        self.means.log.info("state", before=before.value, why=events, state=record.state.value)

    def _why(self, event: Event, command: Command, own: _Own) -> Reason:
        names = ", ".join(command.targets)
        if event is Event.WIPE_FAILED:
            return Reason(Why.WIPE_FAILED, str(own.journal.get("problem", "")) if own.journal is not None else "")
        if event is Event.WIPE_ARMED:
            return Reason(Why.WIPING, f"{names}: erased at the next start, by command {command.id[:8]}")
        if event is Event.RETIRED:
            return Reason(Why.WIPING, f"retired; {names}: erased at the next start, by command {command.id[:8]}")
        return NOTHING

    async def aclose(self) -> None:
        """Ends a snapshot that is under way; it is taken anew."""
        if self._own is not None and self._own.snapshot is not None:
            self._own.snapshot.cancel()
            await asyncio.gather(self._own.snapshot, return_exceptions=True)


def _facts_of(seen: Mapping[str, Any], **rest: Any) -> Facts:
    """Both together."""
    return Facts(**{**seen, **rest})


def _of(record: Any, command_id: str) -> Mapping[str, Any] | None:
    """The journal's record, where it is this command's."""
    return record if isinstance(record, dict) and record.get("id") == command_id else None


def _grant_of(answer: WipeGrant | None) -> Grant:
    if answer is None:
        return Grant.UNKNOWN
    return Grant.GIVEN if answer.granted else Grant.REFUSED


def _ended(task: asyncio.Task[str] | None) -> bool | None:
    if task is None or not task.done():
        return None
    return not task.cancelled() and task.exception() is None


def _problem(task: asyncio.Task[str] | None) -> str:
    if task is None or not task.done() or task.cancelled():
        return ""
    return str(task.exception() or "")
