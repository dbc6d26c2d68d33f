"""The shell of plan.py: gathers the facts, takes the one step, says why it waits. Touches siblings, ident and cluster.

Level-triggered: a turn may be the first after any crash. `init` and `join` run beside the turns, as they take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agents.contracts.identity import Member
from agents.contracts.orders import OrderKind
from agents.contracts.siblings import FormationStatus, Stage
from agents.core.backoff import Backoff
from agents.core.errors import GalleyError, Rejected, Retryable
from edge_commander.distribution.port import ClusterPlan
from edge_commander.formation import plan as plans
from edge_commander.formation import record as records
from edge_commander.formation.ask import secrets_of, slot_of, statuses
from edge_commander.formation.parts import Parts
from edge_commander.formation.permission import BegunBefore
from edge_commander.formation.plan import Facts, Step, next_step
from edge_commander.formation.rebuilding import Rebuilding
from edge_commander.formation.record import Happening, Part
from edge_commander.formation.site import Site
from edge_commander.formation.witness import by_siblings
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.secrets.model import SiteSecrets
from edge_commander.siblings.client import OutOfTime

if TYPE_CHECKING:
    from edge_commander.rolling.roller import Roller  # only a site that was ordered an upgrade pays for it

LOOK_SECONDS = 60.0
"""How often a member looks whether another is still of the site."""


class Former:
    """One node's way into its cluster. `turn` takes one step; NOTHING: it is a member."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._task: asyncio.Task[None] | None = None
        self._running = ""
        self._slot: tuple[str, ...] = ()
        self._settled: bool | None = None  # False: by a clock that could not be trusted
        self._look_at = float("-inf")
        self._rebuild = Rebuilding(parts.distribution, parts.clock, parts.log)
        self._failed: Reason | None = None
        self._again_at = float("-inf")
        self._told: dict[str, int | None] = {}  # what siblings' clocks say, see witness.py
        self._backoff = Backoff(base=1.0, cap=60.0)
        self._roller: Roller | None = None
        self._looked_back = False

    @property
    def member(self) -> int:
        """The epoch of the cluster that this node is a member of, by its record; 0 for none."""
        record = self._p.records.record
        return record.epoch if record.stage is Stage.MEMBER else 0

    @property
    def aside(self) -> Reason:
        """What a member waits for that keeps it from nothing."""
        return self._roller.aside if self._roller is not None else NOTHING

    @property
    def busy(self) -> bool:
        """Whether init or join is under way."""
        return self._task is not None and not self._task.done()

    def status(self, site: Site | None) -> FormationStatus | None:
        """What siblings are told; None before there is a site."""
        if site is None:
            return None
        record = self._p.records.record
        current = record.epoch == site.epoch
        return FormationStatus(
            node=site.me,
            epoch=site.epoch,
            stage=record.stage if current else Stage.NONE,
            initialiser=record.initialiser if current else "",
            secrets=current and self.offered() is not None,
            generation=site.generation,
            snapshot=self._rebuild.mark(site),
            now=max(0, self._p.now_ms()),
        )

    def offered(self) -> SiteSecrets | None:
        """What siblings may have: of the first server only once it is recorded that it begins, so that what it made
        before, and may make again, nobody has."""
        record, held = self._p.records.record, self._p.secrets.secrets
        if held is None or held.epoch != record.epoch:
            return None
        return held if record.part is Part.JOIN or record.stage in (Stage.STARTED, Stage.MEMBER) else None

    @property
    def left(self) -> str:
        """The id of the command by which it last gave its membership up; empty: none did."""
        return self._p.records.record.left

    def leave(self, site: Site, command: str) -> Reason:
        """Begins to give the membership up, by the word of that command: the cluster's part here goes, no partition is
        wiped, and this node may only join. `left` says when it is done. Returns what is under way, or why a try failed.
        Raises Retryable."""
        if (reason := self._under_way()) is not None:
            return reason
        return self._begin("leave the cluster", self._leave(site, command), starts=False)

    def _under_way(self) -> Reason | None:
        """What runs beside the turns, what came of it, or that a try failed a moment ago; None: a step may be taken."""
        if self.busy:
            return Reason(Why.STARTING, self._running)
        if (reason := self._ended()) is not None:
            return reason
        return self._failed if self._failed is not None and self._p.clock.monotonic() < self._again_at else None

    async def _leave(self, site: Site, command: str) -> None:
        await self._p.distribution.reset()
        await self._forget(site, left=command)

    async def turn(self, site: Site, clock: Reason) -> Reason:
        """One look and one step; why it waits. Raises Retryable when the disk cannot be written."""
        if (reason := self._under_way()) is not None:
            return reason
        held = self._held(site)
        asks = self.member != site.epoch or held is None or not self._settled
        answers = await self._ask_all(site) if asks else {}
        clock = self._witnessed(site, clock)
        record = self._p.records.record
        facts = Facts(
            me=site.me,
            epoch=site.epoch,
            roster=site.roster,
            record=record,
            clock=clock,
            answers=answers,
            secrets=held is not None,
            generation=held.generation if held is not None else 0,
            slot=self._slot,
            kept=self._p.records.kept or self._holds(record.epoch),
            restore=site.restore,
            stopped=self._rebuild.stopped(site),
            snapshot=self._rebuild.mark(site),
            waited=self._rebuild.waited(),
        )
        return await self._take(next_step(facts), site, trusted=clock == NOTHING)

    def _ended(self) -> Reason | None:
        """What came of the operation beside the turns; a refusal stands for a while, so that a person sees it."""
        if self._task is None:
            return None
        task, self._task = self._task, None
        self._slot = ()
        error = task.exception() if not task.cancelled() else None
        if error is None:
            self._failed, self._backoff = None, self._backoff.succeeded()
            return None
        if not isinstance(error, GalleyError):
            raise error
        self._p.log.warning("the cluster's start did not end well", step=self._running, cause=str(error))
        why = Why.DISTRIBUTION if isinstance(error, Rejected) else Why.STARTING
        text = error.cause if isinstance(error, Rejected) else "tries again"
        self._failed, self._backoff = Reason(why, f"{self._running}: {text}"), self._backoff.failed()
        self._again_at = self._p.clock.monotonic() + self._backoff.delay(lambda a, b: (a + b) / 2)
        return self._failed

    async def _ask_all(self, site: Site) -> Mapping[str, FormationStatus]:
        return await statuses(self._p.siblings, site.others.values(), self._hear)

    def _hear(self, member: Member, said: FormationStatus | GalleyError) -> None:
        """What its clock says, see witness.py."""
        self._told.pop(member.node, None)
        if isinstance(said, OutOfTime):
            self._told[member.node] = None
        elif isinstance(said, FormationStatus) and said.now:
            self._told[member.node] = said.now - self._p.now_ms()

    def _witnessed(self, site: Site, clock: Reason) -> Reason:
        """The clock's standing, with what siblings have to say where the endpoint was not asked yet."""
        if clock != NOTHING or self._p.confirmed():
            return clock
        told = {node: said for node, said in self._told.items() if node in site.others}
        return by_siblings(told, len(site.others))

    async def _take(self, step: Step, site: Site, *, trusted: bool) -> Reason:
        match step:
            case plans.Wait(reason):
                answer = reason
            case plans.Watch():
                answer = await self._watch(site, trusted=trusted)
            case plans.Decide(begins, why_not):
                answer = await self._decide(site, begins=begins, why_not=why_not)
            case plans.Stop():
                answer = self._begin("stop the older cluster", self._rebuild.stop(site), starts=False)
            case plans.LookForSnapshots():
                answer = await self._look_for_snapshots(site)
            case plans.Clear():
                answer = self._begin("clear the older cluster", self._clear(), starts=False)
            case plans.Forget():
                answer = await self._forget(site)
            case plans.MakeSecrets():
                answer = await self._make(site)
            case plans.FetchSecrets(holders):
                answer = await self._fetch(site, holders)
            case plans.AskSlot(members, fresh):
                answer = await self._ask_slot(site, members, fresh)
            case plans.Init():
                answer = await self._claimed(site)
            case plans.Join(servers):
                resumes = self._p.records.record.stage is Stage.STARTED
                answer = self._begin("join", self._join(site, servers, resumes=resumes))
        return answer

    async def _watch(self, site: Site, *, trusted: bool) -> Reason:
        """A member's round: the suite's accounts once a start, and once more where the clock was wrong then, as
        certificates end by it; now and then, who is no longer of the site."""
        if self._settled is None or (trusted and not self._settled):
            return self._begin("settle", self._settle(site, trusted=trusted))
        if (reason := await self._roll(site)) != NOTHING:
            return reason
        if self._p.clock.monotonic() < self._look_at:
            return NOTHING
        self._look_at = self._p.clock.monotonic() + LOOK_SECONDS
        try:
            members = await self._p.distribution.members()
        except GalleyError:
            return NOTHING  # whoever looks at the cluster says so
        name = plans.leaving(site.own.name, [one.name for one in site.members], members)
        if name is None or not plans.agreed(site.generation, site.others.keys(), await self._ask_all(site)):
            return NOTHING
        self._p.log.warning("the roster no longer names a member: it is taken out", member=name)
        return self._begin(f"remove {name}", self._p.distribution.remove(name))

    async def _roll(self, site: Site) -> Reason:
        """A step of the site's upgrade, where one was ordered; NOTHING while it is not this node's turn."""
        if self._roller is None:
            ordered = site.order(OrderKind.UPGRADE) is not None
            if self._p.roller is None or not (ordered or await self._left_over(site)):
                return NOTHING
            self._roller = self._p.roller()
        found = await self._roller.turn(site)
        return found if isinstance(found, Reason) else self._begin(found.what, found.run)

    async def _left_over(self, site: Site) -> bool:
        """Once a start: whether an upgrade may have left something here though its order stands no longer: a key was
        retired, or a snapshot brought the turns and marks of its time."""
        if self._looked_back:
            return False
        try:
            holder = await self._p.upgrading()
        except GalleyError:
            return False
        self._looked_back = True
        return self._p.records.record.restore or holder == site.own.name

    async def _look_for_snapshots(self, site: Site) -> Reason:
        try:
            await self._rebuild.look(site)
        except GalleyError as error:
            return Reason(Why.DISTRIBUTION, f"snapshots: {error}")
        return Reason(Why.STARTING, "looked for snapshots")

    async def _clear(self) -> None:
        await self._p.distribution.reset()
        self._happened(Happening.CLEARED)

    async def _claimed(self, site: Site) -> Reason:
        """Init, once the endpoint has heard that it begins: what was made here is offered to siblings from then on."""
        resumes = self._p.records.record.stage is Stage.STARTED
        try:
            if not resumes:
                await self._p.gate.claim(site)
        except BegunBefore as error:
            self._p.log.warning("this node does not begin the cluster", cause=error.cause)
            return await self._forget(site)
        except GalleyError as error:
            return Reason(Why.DECISION, str(error))
        return self._begin("init", self._init(site, resumes=resumes))

    async def _forget(self, site: Site, left: str = "") -> Reason:
        self._slot = ()  # it was given to one that had something to go on with
        try:
            self._p.secrets.clear()  # what a first server made and never began with is not the cluster's
        except OSError as error:
            raise Retryable(f"the site's secrets cannot be removed: {error.strerror}") from None
        record = self._p.records.record
        if record.part is Part.INIT and record.epoch == site.epoch:  # what it began in an older one bars it from none
            await self._p.gate.lost()
        self._happened(Happening.EMPTIED, left)
        return Reason(Why.SECRETS, "the cluster's data on this disk is gone")

    async def _make(self, site: Site) -> Reason:
        made = await self._rebuild.secrets(site) if self._p.records.record.restore else None
        if made is None:
            made = await asyncio.to_thread(self._p.make, site.site, site.epoch)
        await asyncio.to_thread(self._p.secrets.save, made)
        self._p.log.info("made the site's authorities", epoch=site.epoch)
        return Reason(Why.STARTING, "init")

    async def _decide(self, site: Site, *, begins: bool, why_not: str) -> Reason:
        try:
            choice = await self._p.gate.decide(site, begins=begins)
        except GalleyError as error:
            return Reason(Why.DECISION, why_not or str(error))
        self._slot = ()  # what was granted was for a cluster of before
        before, who = self._p.records.record, choice.initialiser
        after = records.decided(
            before, epoch=site.epoch, initialiser=who, may_begin=choice.may_begin, restore=site.restore
        )
        self._p.records.save(after)
        self._p.log.info("decided", epoch=site.epoch, initialiser=who, part=str(after.part))
        return Reason(Why.STARTING, "decided")

    async def _fetch(self, site: Site, holders: tuple[str, ...]) -> Reason:
        given = await secrets_of(self._p.siblings, site, holders, self._p.log)
        if given is None:
            return Reason(Why.SECRETS, "siblings have them, none gave them")
        node, secrets = given
        await asyncio.to_thread(self._p.secrets.save, secrets)
        self._p.log.info("took the site's secrets", epoch=site.epoch, sibling=node)
        return Reason(Why.TURN)

    async def _ask_slot(self, site: Site, members: tuple[str, ...], fresh: bool) -> Reason:
        self._slot, reason = await slot_of(self._p.siblings, site, members, self._p.log, fresh=fresh)
        return reason

    def _begin(self, what: str, work: Coroutine[Any, Any, None], *, starts: bool = True) -> Reason:
        """Records that it begins, before anything does, where it `starts` this node's part in the cluster; then runs it
        beside the turns."""
        record = self._p.records.record
        try:
            if starts and record.stage is Stage.DECIDED:
                self._p.records.save(records.happened(record, Happening.STARTED))
        except BaseException:
            work.close()
            raise
        self._p.log.info("begins", step=what, epoch=record.epoch)
        self._running = what
        self._task = asyncio.create_task(work, name=f"cluster {what}")
        return Reason(Why.STARTING, what)

    async def _settle(self, site: Site, *, trusted: bool) -> None:
        await self._p.settle(self._plan(site, ()))
        self._settled = trusted

    def _holds(self, epoch: int) -> bool:
        """Whether secrets of that epoch lie on `var`: it was not wiped, though its copy of the record may be gone."""
        held = self._p.secrets.secrets
        return held is not None and held.epoch == epoch > 0

    def _held(self, site: Site) -> SiteSecrets | None:
        held = self._p.secrets.secrets
        return held if held and (held.site, held.epoch) == (site.site, site.epoch) else None

    def _plan(self, site: Site, servers: tuple[str, ...]) -> ClusterPlan:
        secrets, own = self._held(site), site.own
        return ClusterPlan(
            site=site.site, epoch=site.epoch, node=own.name, address=own.address, servers=servers, secrets=secrets
        )

    async def _init(self, site: Site, *, resumes: bool) -> None:
        await self._p.gate.begin(site, resumes=resumes)
        plan = self._plan(site, ())
        if self._p.records.record.restore:
            await self._rebuild.restore(site, plan)
        else:
            await self._p.distribution.init(plan)
        await self._p.gate.end(site)
        self._ran(plan)
        self._happened(Happening.MEMBER)

    async def _join(self, site: Site, servers: tuple[str, ...], *, resumes: bool) -> None:
        """Where it `resumes`, the root half may have ended it by older secrets: it counts as run by the first ones."""
        plan = self._plan(site, servers)
        await self._p.distribution.join(plan)
        self._ran(plan, generation=1 if resumes else None)
        self._happened(Happening.MEMBER)

    def _ran(self, plan: ClusterPlan, generation: int | None = None) -> None:
        if plan.secrets is not None:
            self._p.ran(plan.epoch, generation or plan.secrets.generation)

    def _happened(self, what: Happening, left: str = "") -> None:
        after = records.happened(self._p.records.record, what)
        self._p.records.save(msgspec.structs.replace(after, left=left) if left else after)
        if what is Happening.MEMBER:
            self._settled = None  # the daemons' access is by this cluster's authorities
            self._looked_back = False
        self._p.log.info("formation", what=what.value, stage=self._p.records.record.stage.value)

    async def aclose(self) -> None:
        """Ends what runs beside the turns; it is taken up again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
