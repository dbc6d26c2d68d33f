"""A member's answer to a sibling that wants to join. Touches the cluster: its Lease, and a ghost that is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.siblings import SlotAnswer, SlotRequest
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterMember, Distribution
from edge_commander.formation import slot
from edge_commander.formation.parts import nobody
from edge_commander.formation.site import Site


class SlotLease(Protocol):
    """The Lease as this member sees it."""

    async def holder(self) -> slot.Held:
        """Whose turn it is. Raises Retryable."""

    async def take(self, name: str) -> bool:
        """The next turn, compare and set against what `holder` read last; False when another was faster. Raises
        Retryable."""


class Usher:
    """Answers one ask at a time. `site`: the newest document; `member`: whether this node is a member;
    `upgrading`, `renews`, `wiping`: the Node that is upgraded, renews its certificates, or is wiped, just now."""

    def __init__(
        self,
        distribution: Distribution,
        lease: SlotLease,
        clock: Clock,
        *,
        site: Callable[[], Site | None],
        member: Callable[[], bool],
        log: FilteringBoundLogger,
        renews: Callable[[], Awaitable[str]] = nobody,
        upgrading: Callable[[], Awaitable[str]] = nobody,
        wiping: Callable[[], Awaitable[str]] = nobody,
    ) -> None:
        self._distribution = distribution
        self._lease = lease
        self._clock = clock
        self._site = site
        self._member = member
        self._renews = renews
        self._log = log
        self._upgrading = upgrading
        self._wiping = wiping
        self._busy = "", 0.0  # who is upgraded, and since when (monotonic s) it was not seen Ready
        self._seen = slot.Seen()
        self._sent_away: dict[str, float] = {}  # of the roster's names, and when (monotonic s)
        self._one = asyncio.Lock()
        self._removal: asyncio.Task[None] | None = None

    async def ask(self, peer: str, request: SlotRequest) -> SlotAnswer:
        """`peer` is a node id out of a verified certificate. What stands in the way is in the answer."""
        site = self._site()
        others = {one.node: one for one in site.members if one.node != site.me} if site is not None else {}
        if site is None or not self._member() or request.epoch != site.epoch or peer not in others:
            return SlotAnswer(granted=False, reason="this node is no member of the cluster of that epoch")
        try:
            async with self._one:
                return await self._ask(site, others[peer].name, request.fresh)
        except (Retryable, Rejected) as error:
            return SlotAnswer(granted=False, reason=str(error)[:300])

    async def _ask(self, site: Site, name: str, fresh: bool) -> SlotAnswer:
        members = await self._distribution.members()
        if (refused := await self._turn(name, members)) is not None:
            return refused
        # Asked after the turn was taken: whoever upgrades looks at that turn after it took its own.
        if busy := await self._because_of(name, members):
            return SlotAnswer(granted=False, holder=name, reason=f"{busy}, joins wait")
        if self._removal is None and slot.ghost(name, fresh, members) and slot.is_well(name, members):
            text = f"{name} is a Ready member of the cluster: it is taken out only once it is not"
            return SlotAnswer(granted=False, holder=name, reason=text)
        if self._removal is not None or slot.ghost(name, fresh, members):
            return SlotAnswer(granted=False, holder=name, reason=self._remove(name))
        servers = slot.doors(members, name, {one.name: one.address for one in site.roster})
        if not servers:
            return SlotAnswer(granted=False, holder=name, reason="no server of the cluster is Ready")
        return SlotAnswer(granted=True, servers=servers, holder=name)

    async def _because_of(self, name: str, members: Sequence[ClusterMember]) -> str:
        """Because of whom no other may join now; one that renewed, or is being erased, and is gone keeps nobody out."""
        if busy := await self._upgraded(name, members):
            return f"{busy} is upgraded"
        wiped = await self._wiping()
        if wiped not in ("", name) and slot.is_well(wiped, members):
            return f"{wiped} is being wiped"
        busy = await self._renews()
        return f"{busy} renews its certificates" if busy not in ("", name) and slot.is_well(busy, members) else ""

    async def _turn(self, name: str, members: Sequence[ClusterMember]) -> SlotAnswer | None:
        """Takes the turn for `name`; the answer where it cannot have it."""
        now = self._clock.monotonic()
        self._seen = slot.observe(self._seen, await self._lease.holder(), now)
        held = self._seen.held
        self._sent_away = {one: at for one, at in self._sent_away.items() if now - at < slot.WAITS_SECONDS}
        if not slot.is_free(self._seen, name, members, now, waits=bool(self._sent_away.keys() - {name})):
            if held.name == name:
                return SlotAnswer(granted=False, holder=name, reason=f"the turn of {name} is over: others wait")
            self._sent_away[name] = now
            return SlotAnswer(granted=False, holder=held.name)
        if held.name != name or self._seen.over(now):
            if not await self._lease.take(name):
                return SlotAnswer(granted=False, reason="another node was faster")
            self._seen = slot.Seen(slot.Held(name, held.turn + 1), now)
        self._sent_away.pop(name, None)
        return None

    async def _upgraded(self, name: str, members: Sequence[ClusterMember]) -> str:
        """Another node that is upgraded now; empty where there is none, or it has long not been Ready: a dead one keeps
        nobody out for ever."""
        busy = await self._upgrading()
        holder = next((one for one in members if one.name == busy), None)
        if holder is None or busy == name:
            return ""
        now = self._clock.monotonic()
        if self._busy[0] != busy or holder.ready:
            self._busy = busy, now
        return busy if now - self._busy[1] < slot.HOLD_SECONDS else ""

    def _remove(self, name: str) -> str:
        """Takes a ghost out beside the answers, as that may take a minute; what is told meanwhile."""
        if self._removal is None:
            self._log.warning("a member of the same name is taken out first", member=name)
            self._removal = asyncio.create_task(self._distribution.remove(name), name=f"remove {name}")
        if not self._removal.done():
            return f"the member that was called {name} before is taken out first"
        task, self._removal = self._removal, None
        if task.cancelled() or (error := task.exception()) is None:
            return f"the member that was called {name} before is out"
        if not isinstance(error, GalleyError):
            raise error
        self._log.warning("a member could not be taken out", member=name, cause=str(error))
        return f"the member that was called {name} before cannot be taken out: {error}"[:300]

    async def aclose(self) -> None:
        """Ends a removal; it is asked for again."""
        if self._removal is not None:
            self._removal.cancel()
            await asyncio.gather(self._removal, return_exceptions=True)
