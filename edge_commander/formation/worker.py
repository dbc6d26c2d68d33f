"""The shell of worker_plan.py. Touches siblings, ident and this node's part of the cluster.

A worker holds no authority: what it needs is signed by a member for a key that was made here. Its kubelet knows the API
by a name that is one server's address; when that server is gone, it becomes another's that answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from agents.contracts.siblings import FormationStatus, Stage
from agents.core.errors import GalleyError, Rejected, Retryable
from edge_commander.distribution.port import ClusterPlan, NodeAccess
from edge_commander.formation import plan as plans
from edge_commander.formation import record as records
from edge_commander.formation.former import Former
from edge_commander.formation.parts import Parts
from edge_commander.formation.record import Happening
from edge_commander.formation.site import Site
from edge_commander.formation.worker_plan import Step, WorkerFacts, next_worker_step
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.secrets.model import SiteSecrets

SETTLE_SECONDS = 24 * 3600.0
"""How often the commander's own access is made anew; it lasts a week, so that a revoked worker's ends."""
SILENT = 2
"""Looks in a row at which the API did not answer, before another server is gone to."""


class WorkerFormer(Former):
    """A worker's way into the cluster, in place of Former. `turn` takes one step; NOTHING: it is a member."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._settle_at = float("-inf")
        self._silent = 0

    def offered(self) -> SiteSecrets | None:
        """Nothing, ever."""
        return None

    async def turn(self, site: Site, clock: Reason) -> Reason:
        """See Former."""
        if (reason := self._under_way()) is not None:
            return reason
        record, kept = self._p.records.record, self._p.records.kept
        answers = {} if self.member and kept else await self._ask_all(site)
        clock = self._witnessed(site, clock)
        facts = WorkerFacts(site.epoch, record, clock, answers, self._slot, kept, self._rebuild.stopped(site))
        return await self._do(next_worker_step(facts), site)

    async def _do(self, step: Step, site: Site) -> Reason:
        match step:
            case plans.Wait(reason):
                answer = reason
            case plans.Watch():
                answer = await self._stay(site)
            case plans.Stop():
                answer = self._begin("stop the older cluster", self._rebuild.stop(site), starts=False)
            case plans.Decide():
                answer = self._become_worker(site)
            case plans.Forget():
                self._slot = ()
                self._happened(Happening.EMPTIED)
                answer = Reason(Why.FIRST, "the cluster's data on this disk is gone")
            case plans.AskSlot(members, fresh):
                answer = await self._ask_slot(site, members, fresh)
            case plans.Join(servers):
                answer = self._begin("join", self._join_by_access(site, servers))
        return answer

    def _become_worker(self, site: Site) -> Reason:
        try:
            self._p.secrets.clear()  # where it was a server of another epoch, or of none yet
        except OSError as error:
            raise Retryable(f"the site's secrets cannot be removed: {error.strerror}") from None
        self._p.records.save(records.worker(self._p.records.record, epoch=site.epoch))
        return Reason(Why.STARTING, "decided")

    async def _stay(self, site: Site) -> Reason:
        """A member's round: access for this commander, then whether the API answers by the server that is named."""
        if self._p.clock.monotonic() >= self._settle_at:
            return self._begin("settle", self._with_access(site, (), self._p.settle, self._settled_now))
        self._silent = 0 if await self._answers() else self._silent + 1
        if not self._silent:
            return NOTHING
        if self._silent < SILENT:
            return Reason(Why.API, "the server that this node goes by")
        self._silent = 0
        servers = _servers(site, await self._ask_all(site), self._p.reached())
        if not servers:
            return Reason(Why.API, "no server answers")
        return self._begin("another server", self._with_access(site, servers, self._p.distribution.join))

    async def _answers(self) -> bool:
        try:
            return (await self._p.distribution.health()).api
        except Rejected:  # what is at that address now is no server of ours, or has forgotten us
            return False

    def _settled_now(self) -> None:
        self._settle_at = self._p.clock.monotonic() + SETTLE_SECONDS

    async def _join_by_access(self, site: Site, servers: tuple[str, ...]) -> None:
        joined = self._p.distribution.join
        await self._with_access(site, servers, joined, lambda: self._happened(Happening.MEMBER))

    async def _with_access(
        self,
        site: Site,
        servers: tuple[str, ...],
        do: Callable[[ClusterPlan], Awaitable[None]],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        access, own = await self._access(site), site.own
        await do(
            ClusterPlan(
                site=site.site, epoch=site.epoch, node=own.name, address=own.address, servers=servers, access=access
            )
        )
        then()

    async def _access(self, site: Site) -> NodeAccess:
        """Of the first member that gives it."""
        said: list[str] = []
        for node in sorted(await self._members(site)):
            try:
                return await self._p.siblings.access(site.others[node], site.epoch)
            except GalleyError as error:
                said.append(error.cause if isinstance(error, Rejected) else str(error))
        raise Retryable(f"no member signed for this worker: {'; '.join(said) or 'none answers'}")

    async def _members(self, site: Site) -> Mapping[str, FormationStatus]:
        answers = await self._ask_all(site)
        return {node: one for node, one in answers.items() if (one.epoch, one.stage) == (site.epoch, Stage.MEMBER)}


def _servers(site: Site, answers: Mapping[str, FormationStatus], reached: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses of the members that answer just now: the roster's, or, where it names none, where they were reached."""
    living = [node for node, one in answers.items() if (one.epoch, one.stage) == (site.epoch, Stage.MEMBER)]
    found = (site.others[node].address or reached.get(node, "") for node in sorted(living))
    return tuple(address for address in found if address)
