"""The shell of plan.py: gathers the facts, takes the one step. Touches the cluster.

Level-triggered: a turn may be the first after any crash. What must outlive one lies in the cluster: whose turn it is
and how often it tried (Lease), and that the cordon is ours (Node).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.orders import OrderKind
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.distribution.port import Distribution
from edge_commander.formation.parts import nobody
from edge_commander.formation.site import Site
from edge_commander.formation.slot import Held
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rolling import plan as plans
from edge_commander.rolling.gate import OwnNode
from edge_commander.rolling.plan import Drained, Facts, Turn, next_step, plain
from edge_commander.rolling.pods import Pod

DRAIN_SECONDS = 120.0
REST_SECONDS = 10.0
"""Between two tries of one node's upgrade."""


class Cluster(Protocol):
    """See RollingCluster. Each raises Retryable or Rejected."""

    async def turn(self) -> Turn:
        """Whose turn it is."""

    async def put(self, turn: Turn) -> bool:
        """Compare and set."""

    async def node(self, name: str) -> OwnNode:
        """A Node."""

    async def cordon(self, name: str, number: int) -> None:
        """Cordons and marks it."""

    async def uncordon(self, name: str) -> None:
        """Takes that back."""

    async def evict(self, name: str) -> list[Pod]:
        """Asks the pods to go; those still there."""


class Joins(Protocol):
    """Whose turn it is to join."""

    async def holder(self) -> Held:
        """Raises Retryable."""


@dataclass(frozen=True)
class Means:
    """`renews`: the Node that renews its certificates, `wiping`: that is being wiped; empty: none. `holds(version)`:
    whether its programs lie on this node. `drain_seconds`: how long pods may take to go; `go_on`: what does not go then
    stops nothing."""

    distribution: Distribution
    cluster: Cluster
    joins: Joins
    holds: Callable[[str], bool]
    clock: Clock
    log: FilteringBoundLogger
    drain_seconds: float = DRAIN_SECONDS
    go_on: bool = True
    renews: Callable[[], Awaitable[str]] = nobody
    wiping: Callable[[], Awaitable[str]] = nobody


@dataclass(frozen=True)
class Work:
    """What takes minutes, and runs beside the turns. `what` for people."""

    what: str
    run: Coroutine[Any, Any, None]


@dataclass
class _Own:
    """What this process knows of its own part in one order."""

    number: int
    drain_began: float | None = None
    drained: Drained = field(default_factory=Drained)
    upgraded: bool = False
    failed: str = ""
    refused: bool = False
    again_at: float = 0.0
    idle: bool = False


class Roller:
    """One node's part in a site's upgrade. `aside`: why it waits while the node serves as it is."""

    def __init__(self, means: Means) -> None:
        self._m = means
        self._own = _Own(-1)
        self._seen: tuple[Turn, float] = (Turn(), 0.0)
        self._told = ""
        self.aside = NOTHING

    async def turn(self, site: Site) -> Reason | Work:
        """One look and one step: a Reason while it is this node's turn, NOTHING otherwise, or work to run beside."""
        order = site.order(OrderKind.UPGRADE)
        number = 0 if order is None else order.number
        if self._own.number != number:
            self._own = _Own(number)
            self.aside = NOTHING
        if self._own.idle:
            return NOTHING
        try:
            return await self._take(site, await self._facts(site, number, "" if order is None else order.version))
        except GalleyError as error:
            if self._told != (told := str(error)):
                self._m.log.info("the upgrade could not be looked at", cause=told)
                self._told = told
            return NOTHING

    async def _facts(self, site: Site, number: int, version: str) -> Facts:
        m, me = self._m, site.own.name
        members = await m.distribution.members()
        turn = await m.cluster.turn()
        now = m.clock.monotonic()
        if self._seen[0] != turn:
            self._seen = turn, now
        node = await m.cluster.node(me)
        held, renews, wiping = (await m.joins.holder()).name, await m.renews(), await m.wiping()
        ready = {one.name for one in members if one.ready}
        expected = tuple(one.name for one in site.roster if one.signing)
        joins = held in expected and held != me and held not in ready
        return Facts(
            me=me,
            number=number,
            version=version,
            expected=expected,
            members=members,
            turn=turn,
            here=bool(number) and m.holds(version),
            api=(await m.distribution.health()).api,
            cordoned=node.cordoned,
            marked=node.marked,
            joining=held if joins else "",
            renewing=renews if renews in ready else "",
            wiping=wiping if wiping in ready else "",
            lost=bool(turn.holder) and now - self._seen[1] >= plans.LOST_SECONDS,
            drained=self._own.drained,
            upgraded=self._own.upgraded,
            failed=self._own.failed,
            refused=self._own.refused,
            rests=bool(self._own.failed) and now < self._own.again_at,
            go_on=m.go_on,
        )

    async def _take(self, site: Site, facts: Facts) -> Reason | Work:
        step, m, working = next_step(facts), self._m, f"upgrade to {plain(facts.version)}"
        if not isinstance(step, plans.Wait):
            self.aside = NOTHING
        answer: Reason | Work = Reason(Why.STARTING, working)
        match step:
            case plans.Idle():
                self._own.idle, answer = True, NOTHING
            case plans.Wait(reason, holding):
                self.aside = NOTHING if holding else reason
                answer = Reason(Why.STARTING, f"{working}: {reason.text}") if holding else NOTHING
            case plans.Put(turn, word):
                done = await m.cluster.put(turn)
                m.log.info("the turn to upgrade", audit=True, word=word, done=done, stopped=turn.stopped, why=turn.why)
                answer = answer if word == "take" and done else NOTHING
            case plans.Cordon():
                await m.cluster.cordon(facts.me, facts.number)
                m.log.info("cordoned", audit=True, node=facts.me)
            case plans.Drain():
                await self._drain(facts.me)
            case plans.Uncordon():
                await m.cluster.uncordon(facts.me)
                m.log.info("uncordoned", audit=True, node=facts.me)
            case plans.Upgrade(turn):
                if turn == facts.turn or await m.cluster.put(turn):
                    answer = Work(working, self._upgrade(facts.version))
        return answer

    async def _drain(self, me: str) -> None:
        now = self._m.clock.monotonic()
        if self._own.drain_began is None:
            self._own.drain_began = now
        left = await self._m.cluster.evict(me)
        if not left:
            self._own.drained = Drained(done=True)
        elif now - self._own.drain_began >= self._m.drain_seconds:
            names = tuple(one.text for one in left)
            self._own.drained = Drained(left=names)
            self._m.log.warning("pods did not go in time", audit=True, pods=names[:20], count=len(names))

    async def _upgrade(self, version: str) -> None:
        """Never raises what came of it: the next look decides, by what is noted here and what it sees."""
        own = self._own
        own.upgraded, own.failed = False, ""
        try:
            await self._m.distribution.upgrade(version)
            own.upgraded = True
        except Retryable as error:
            own.failed = str(error)
        except Rejected as error:
            own.failed, own.refused = str(error), True
        own.again_at = self._m.clock.monotonic() + REST_SECONDS
        if own.failed:
            self._m.log.warning("the upgrade of this node did not go through", audit=True, cause=own.failed)
        else:
            self._m.log.info("this node was upgraded", audit=True, version=version)
