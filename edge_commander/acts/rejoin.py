"""`rejoin`: the shell of rejoin_plan.py. Touches ident, the cluster, and this node's part in it.

What must outlive a crash: that it was begun and that the cluster's part began to go (acts.json), that it is gone
(formation.json, in the same write as the new record), whose turn it is (Lease), that the cordon is ours (Node).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.command import Command
from agents.contracts.messages import NodeState
from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock
from edge_commander.acts import rejoin_plan as plans
from edge_commander.acts.away import Seen
from edge_commander.acts.reboot import Store
from edge_commander.acts.rejoin_plan import RejoinFacts, next_step
from edge_commander.acts.store import Act
from edge_commander.reasons import NodeRecord, Reason
from edge_commander.rolling.pods import Pod
from edge_commander.states import Event
from edge_commander.verbs import Outcome

MARK = "galley/cordoned-for-command"
LONGEST_SECONDS = 1800.0
"""After which the command is answered as failed; the node goes on by itself."""


class Membership(Protocol):
    """See Formation."""

    @property
    def is_member(self) -> bool:
        """Server or worker."""

    @property
    def left(self) -> str:
        """By which command it was given up last."""

    def leave(self, command: str) -> Reason:
        """Begins to, or what is under way."""


class Cluster(Protocol):
    """See ActsCluster. Each raises Retryable or Rejected."""

    async def see(self, me: str) -> Seen:
        """One look."""

    async def has_leave(self, me: str, command: str) -> bool:
        """Whether the turn to leave is this command's."""

    async def take_leave(self, me: str, command: str) -> bool:
        """The turn to leave."""

    async def give_leave_back(self, me: str, command: str) -> None:
        """Ends it."""


class Own(Protocol):
    """See Gate. Each raises Retryable or Rejected."""

    async def cordon(self, name: str, word: object) -> None:
        """Cordons and marks it."""

    async def uncordon(self, name: str) -> None:
        """Takes that back."""

    async def evict(self, name: str) -> list[Pod]:
        """Asks the pods to go; those still there."""


class Remembers(Protocol):
    """See Memory."""

    record: NodeRecord

    def save_record(self, record: NodeRecord) -> None:
        """On disk when it returns. Raises Retryable."""


@dataclass(frozen=True)
class Means:
    """What it works with. `me`: this node's name in Kubernetes, empty where it has none. `now_ms`: Unix ms.
    `drain_seconds`: how long pods may take to go."""

    store: Store
    memory: Remembers
    formation: Membership
    cluster: Cluster
    own: Own
    me: Callable[[], str]
    now_ms: Callable[[], int]
    clock: Clock
    drain_seconds: float
    log: FilteringBoundLogger


@dataclass
class _Run:
    """What this process knows of one command; after a crash pods and bound are given their time anew."""

    command: str = ""
    since: float = 0.0
    drain_began: float | None = None
    drained: bool = False
    waits: str = ""


async def put_back(own: Own, cluster: Cluster, me: str, command: str) -> None:
    """The mark and the turn; safe to do twice. Raises Retryable, Rejected."""
    await own.uncordon(me)
    await cluster.give_leave_back(me, command)


class Rejoins:
    """One node's."""

    def __init__(self, means: Means) -> None:
        self._m = means
        self._run = _Run()

    async def execute(self, command: Command) -> Outcome | None:
        """See Handler: one step. Raises Retryable, Rejected while nothing was begun."""
        if self._run.command != command.id:
            self._run = _Run(command.id, self._m.clock.monotonic())
        act = self._m.store.of(command.id)
        if act is None and not self._m.formation.is_member:
            return Outcome("refused", "this node is no member of its site's cluster")
        try:
            return await self._take(command.id, next_step(await self._facts(command.id, act)))
        except GalleyError as error:
            if act is None:
                raise
            self._run.waits = str(error)
            return None

    async def _facts(self, command: str, act: Act | None) -> RejoinFacts:
        m, run = self._m, self._run
        left = m.formation.left == command
        leaving = act is not None and act.tries > 0
        if leaving and not left:
            await self._leave(command)  # asked at each look: it says what is under way, and begins again what failed
            left = m.formation.left == command
        return RejoinFacts(
            me=m.me(),
            seen=await self._see() if left or not leaving else None,
            begun=act is not None and (leaving or left or await self._has_turn(command)),
            leaving=leaving,
            left=left,
            drained=run.drained,
            ready=m.memory.record.state is NodeState.READY,
            member=m.formation.is_member,
            over=self._waited(LONGEST_SECONDS),
            waits=m.memory.record.reason.text or run.waits if left else run.waits,
        )

    async def _has_turn(self, command: str) -> bool:
        """Also where it cannot be asked: the act was noted before it was taken."""
        try:
            return await self._m.cluster.has_leave(self._m.me(), command)
        except Retryable:
            return True

    async def _see(self) -> Seen | None:
        try:
            return await self._m.cluster.see(self._m.me())
        except Retryable as error:
            self._run.waits = str(error)
            return None

    async def _take(self, command: str, step: plans.Step) -> Outcome | None:
        m, me = self._m, self._m.me()
        match step:
            case plans.Refuse(why):
                return Outcome("refused", why)
            case plans.Take():
                m.store.save(m.store.acts.at(Act(id=command)))  # first: it may have to go back
                if not await m.cluster.take_leave(me, command):
                    m.store.save(m.store.acts.at(None))
                    return Outcome("refused", "another node of this site is away, or goes, just now")
            case plans.Drain():
                await self._drain(me, command)
            case plans.Leave():
                m.log.info("leaves the cluster", audit=True, id=command)
                m.store.save(m.store.acts.at(Act(id=command, tries=1)))
                await self._leave(command)
            case plans.Forming():
                m.memory.save_record(m.memory.record.happened(Event.REJOIN, m.now_ms()))
            case plans.End(done, why):
                if not await self._put_back(me, command):
                    if not self._waited(2 * LONGEST_SECONDS):
                        return None
                    m.store.save(msgspec.structs.replace(m.store.acts, owed=command))
                return Outcome("done" if done else "failed", why)
            case plans.Wait():
                pass
        return None

    async def _leave(self, command: str) -> None:
        self._run.waits = self._m.formation.leave(command).text
        await asyncio.sleep(0)  # it begins

    async def _drain(self, me: str, command: str) -> None:
        """Bounded: what does not go in time, or cannot be asked, stops nothing."""
        m, run, now = self._m, self._run, self._m.clock.monotonic()
        if run.drain_began is None:
            run.drain_began = now
        left: list[Pod] | None = None
        try:
            await m.own.cordon(me, command)
            left = await m.own.evict(me)
        except GalleyError as error:
            m.log.info("the pods could not be asked to go", cause=str(error))
        if left == [] or now - run.drain_began >= m.drain_seconds:
            run.drained = True
            if left:
                m.log.warning("pods did not go in time", audit=True, pods=[one.text for one in left[:20]])

    def _waited(self, seconds: float) -> bool:
        return self._m.clock.monotonic() - self._run.since >= seconds

    async def _put_back(self, me: str, command: str) -> bool:
        """The mark and the turn; False where they could not be, and should be tried again."""
        try:
            await put_back(self._m.own, self._m.cluster, me, command)
        except GalleyError as error:
            self._m.log.warning("what was begun could not be put back", audit=True, cause=str(error))
            return False
        return True
