"""`reboot`: judged, noted on ident, then in the cluster, told to the machine, and answered after the boot.

Each step is durable before the next. What tells the end is the boot id: once it is another, the machine was booted,
whoever did it. It is noted on ident first: of a cut after that, the next start knows by itself that the boot which the
command wanted has been, also where the cluster does not answer. Touches ident, the cluster and the machine half.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from agents.contracts.command import Command
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.acts.away import Seen
from edge_commander.acts.reboot_rules import AGAIN_SECONDS, TRIES, Last, RebootFacts, why_not
from edge_commander.acts.store import Act, Acts
from edge_commander.verbs import Outcome

SOON_SECONDS = 15.0
"""After a machine half that did not answer."""


class Cluster(Protocol):
    """See ActsCluster. Each raises Retryable or Rejected."""

    async def see(self, me: str) -> Seen:
        """One look."""

    async def last_reboot(self) -> Last:
        """The site's."""

    async def reboots(self, me: str, command: str, boot: str) -> bool:
        """Compare and set."""


class Store(Protocol):
    """See ActFile."""

    acts: Acts

    def of(self, command: str) -> Act | None:
        """What was begun for this command."""

    def save(self, acts: Acts) -> None:
        """On disk when it returns. Raises Retryable."""


@dataclass(frozen=True)
class Means:
    """What it works with. `me`: this node's name in Kubernetes, empty before it has one. `cluster` None: none is
    formed here, or none whose Leases this node may write. `boot`: the boot id of now. `machine`: tells the machine to
    reboot; raises Retryable, Rejected. `now_ms`: Unix ms."""

    store: Store
    me: Callable[[], str]
    cluster: Cluster | None
    boot: Callable[[], str]
    machine: Callable[[], Awaitable[object]]
    now_ms: Callable[[], int]
    clock: Clock


class Reboots:
    """One node's."""

    def __init__(self, means: Means) -> None:
        self._m = means
        self._told_at: float | None = None
        self._said = ""

    async def execute(self, command: Command) -> Outcome | None:
        """See Handler. Raises Retryable, Rejected while nothing was begun."""
        act = self._m.store.of(command.id)
        if act is None or (not act.tries and act.boot == self._m.boot()):  # not told yet, so maybe not noted everywhere
            refused = await self._begin(command.id)
            if refused:
                return Outcome("refused", refused)
            act = self._m.store.of(command.id)
            assert act is not None
        if self._m.boot() != act.boot:
            return Outcome("done", "the node was booted anew")
        return await self._tell(act)

    async def _begin(self, command: str) -> str:
        """Notes the reboot, on ident first; why not, where it is refused."""
        m, me = self._m, self._m.me()
        seen, last = await self._look(me)
        if last.command == command and last.boot:  # noted before a crash; also where the record is lost
            m.store.save(m.store.acts.at(Act(id=command, boot=last.boot)))
            return ""
        text = why_not(RebootFacts(me, command, m.now_ms(), last=last, own_ms=m.store.acts.rebooted, seen=seen))
        if not text:
            boot = m.boot()
            m.store.save(m.store.acts.at(Act(id=command, boot=boot)))
            if seen is None or m.cluster is None or await m.cluster.reboots(me, command, boot):
                return ""
            text = "another node of this site was faster, and a site is given one reboot an hour"
        m.store.save(m.store.acts.at(None))
        return text

    async def _look(self, me: str) -> tuple[Seen | None, Last]:
        """The cluster, where there is one that answers."""
        if self._m.cluster is None or not me:
            return None, Last()
        try:
            return await self._m.cluster.see(me), await self._m.cluster.last_reboot()
        except Retryable:
            return None, Last()

    async def _tell(self, act: Act) -> Outcome | None:
        """Tells the machine, where it was not told just now, and waits for the boot."""
        m, now = self._m, self._m.clock.monotonic()
        if self._told_at is not None and now - self._told_at < AGAIN_SECONDS:
            return None
        if act.tries >= TRIES:
            return Outcome("failed", self._said or f"the machine was told {TRIES} times to reboot, and did not")
        told = msgspec.structs.replace(act, tries=act.tries + 1)
        at = m.store.acts.rebooted if act.tries else m.now_ms()
        m.store.save(msgspec.structs.replace(m.store.acts, act=told, rebooted=at))
        self._told_at = now
        try:
            await m.machine()
            self._said = ""
        except Retryable as error:
            self._said = f"the machine could not be told to reboot: {error}"
            self._told_at = now - AGAIN_SECONDS + SOON_SECONDS
        except Rejected as error:
            return Outcome("failed", f"the machine does not reboot: {error}")
        return None
