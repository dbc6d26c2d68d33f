"""The shell of plan.py: a member's part in rotations and renewals. Touches siblings, `var` and the cluster.

Level-triggered: a turn may be the first after any crash. A renewal runs beside the turns, as it takes a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.orders import OrderKind
from agents.contracts.siblings import FormationStatus
from agents.core.errors import GalleyError, Rejected, Retryable
from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterMember, ClusterPlan
from edge_commander.formation.ask import Siblings, secrets_of, statuses
from edge_commander.formation.parts import nobody
from edge_commander.formation.site import Site
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rotation import plan as plans
from edge_commander.rotation.plan import Facts, Life, Turn, next_step
from edge_commander.rotation.store import Progress
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.rotation import digest, is_due, ordered
from edge_commander.secrets.store import Draft

LOOK_SECONDS = 60.0
"""How often a member looks while nothing is to be done, and after a renewal that failed."""
AGAIN_SECONDS = 10.0
"""After a look that failed."""
LEAF_SECONDS = 3600.0
"""How often it looks when its certificates end."""


class Cluster(Protocol):
    """The part of Distribution that is used here."""

    async def members(self) -> list[ClusterMember]:
        """See Distribution."""

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        """See Distribution."""


class TurnLease(Protocol):
    """The Lease; writes are compared and set against what was read last. Each raises Retryable."""

    async def read(self) -> Turn:
        """The Lease now."""

    async def take(self, name: str) -> bool:
        """The turn for that Node; empty lets it go."""

    async def announce(self, epoch: int, generation: int, digest: str) -> bool:
        """What the newest generation is."""


class SecretsStore(Protocol):
    """See edge_commander/secrets/store.py."""

    draft: Draft | None

    @property
    def secrets(self) -> SiteSecrets | None:
        """What is held."""

    def save(self, secrets: SiteSecrets) -> None:
        """Keeps them; never goes back."""

    def sketch(self, draft: Draft) -> None:
        """Keeps a draft."""

    def drop(self) -> None:
        """Forgets the draft."""


class ProgressStore(Protocol):
    """See store.py."""

    progress: Progress

    def save(self, progress: Progress) -> None:
        """On disk when it returns."""


@dataclass(frozen=True)
class Parts:
    """What it works with. `make(held, number, order)`: see secrets/authority.py, make_next. `upgrading`, `wiping`: the
    Node that is upgraded, or being wiped, just now; empty: none. `life`: of the certificates at this node's address.
    `settle`: see former.Parts. `now_ms`: Unix ms. `overlap_ms`: how long the service accounts' old key is accepted once
    all sign with the new one. A kubelet fetches a pod's token anew once it is 24 h old, or most of its life is over
    (kubernetes.io: Managing Service Accounts)."""

    distribution: Cluster
    siblings: Siblings
    lease: TurnLease
    upgrading: Callable[[], Awaitable[str]]
    secrets: SecretsStore
    progress: ProgressStore
    make: Callable[[SiteSecrets, int, int], SiteSecrets]
    settle: Callable[[ClusterPlan], Awaitable[None]]
    life: Callable[[str], Awaitable[Life | None]]
    now_ms: Callable[[], int]
    clock: Clock
    log: FilteringBoundLogger
    overlap_ms: int
    wiping: Callable[[], Awaitable[str]] = nobody


class Rotor:
    """One member's. `turn` takes one step; NOTHING: it has nothing to do, or only others have."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._task: asyncio.Task[None] | None = None
        self._look_at = float("-inf")
        self._leaf_at = float("-inf")
        self._life: Life | None = None
        self._wanted: int | None = None
        self._reason = NOTHING
        self._failed = False

    @property
    def busy(self) -> bool:
        """Whether a renewal is under way."""
        return self._task is not None and not self._task.done()

    async def life(self, site: Site) -> Life | None:
        """Of this node's certificates, looked at now; None where its API server shows none."""
        self._life = await self._p.life(site.own.address)
        return self._life

    @property
    def reason(self) -> Reason:
        """What it waits for, as the last look found."""
        return self._reason

    def want(self, begin: int | None) -> None:
        """The certificates that began then, Unix ms, are to be renewed in this node's turn, however long they have to
        live; None takes that back. Forgotten with the process: who wants it says so again."""
        if begin != self._wanted:
            self._wanted = begin
            self._leaf_at = self._look_at = float("-inf")

    @property
    def _is_wanted(self) -> bool:
        return self._life is not None and self._life.begin == self._wanted

    @property
    def generations(self) -> tuple[int, int]:
        """What is held, and what runs by it; zeros where nothing is held."""
        held = self._p.secrets.secrets
        return (0, 0) if held is None else (held.generation, self._progress(held.epoch).runs)

    def ran(self, epoch: int, generation: int) -> None:
        """This node was made a member by that generation. Raises Retryable."""
        self._p.progress.save(Progress(epoch=epoch, runs=generation))

    def told(self, status: FormationStatus) -> FormationStatus:
        """What siblings are told, with this node's part in rotations."""
        held, progress = self._p.secrets.secrets, self._progress(status.epoch)
        if held is None or held.epoch != status.epoch:
            return status
        runs, renewing = progress.runs, progress.renewing or self.busy
        return msgspec.structs.replace(status, holds=held.generation, runs=runs, renewing=renewing)

    async def turn(self, site: Site, clock: Reason) -> Reason:
        """One look and one step of a member; why it waits. Raises Retryable when the disk cannot be written."""
        if self.busy:
            return Reason(Why.TURN, "rotation: this node renews its certificates")
        self._ended()
        held = self._p.secrets.secrets
        if held is None or held.epoch != site.epoch:
            return NOTHING
        progress, now = self._progress(site.epoch), self._p.clock.monotonic()
        order = site.order(OrderKind.ROTATE)
        active = bool(held.service_account_next) or (held.settled and ordered(held, order))
        behind = progress.renewing or progress.runs < held.generation or self._is_wanted
        if now < self._look_at and (self._failed or not (active or behind)):
            return self._reason if active or behind else NOTHING
        self._look_at = now + LOOK_SECONDS
        try:
            self._reason, self._failed = await self._look(site, held, clock, active=active), False
        except GalleyError as error:
            self._p.log.info("a rotation cannot go on yet", cause=str(error))
            self._failed, self._look_at = True, now + (AGAIN_SECONDS if active or behind else LOOK_SECONDS)
            self._reason = Reason(Why.TURN, "rotation: tries again") if active or behind else NOTHING
        return self._reason

    async def aclose(self) -> None:
        """Ends what runs beside the turns; it is taken up again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _progress(self, epoch: int) -> Progress:
        """Of that epoch. A cluster that an earlier version formed has none, and runs by the first generation."""
        found = self._p.progress.progress
        return found if found.epoch == epoch else Progress(epoch=epoch)

    def _ended(self) -> None:
        """What came of a renewal; one that failed is tried again after a while, and nobody else renews meanwhile."""
        if self._task is None:
            return
        task, self._task = self._task, None
        error = task.exception() if not task.cancelled() else None
        if error is None:
            self._leaf_at = float("-inf")
            return
        if not isinstance(error, GalleyError):
            raise error
        self._p.log.warning("a renewal did not end well", cause=str(error))
        self._failed, self._look_at = True, self._p.clock.monotonic() + LOOK_SECONDS
        cause = error.cause if isinstance(error, Rejected) else "it is tried again"
        self._reason = Reason(Why.TURN, f"rotation: the renewal failed: {cause}")

    async def _look(self, site: Site, held: SiteSecrets, clock: Reason, *, active: bool) -> Reason:
        await self._see_leaves(site)
        turn = await self._p.lease.read()  # first: what is said after it may be held against it
        answers = await statuses(self._p.siblings, site.others.values())
        members = await self._p.distribution.members()
        upgrading, wiping = [await self._there(ask, members) for ask in (self._p.upgrading, self._p.wiping)]
        progress = await self._all_ran(site, held, answers, clock)
        if turn.holder == site.own.name and not progress.renewing:
            await self._p.lease.take("")  # letting go failed, or a crash came first
            return self._reason
        if clock == NOTHING and await self._take_up(turn, held, answers):
            return Reason(Why.TURN, "rotation")
        now_ms = self._p.now_ms()
        due = clock == NOTHING and is_due(
            held,
            site.order(OrderKind.ROTATE),
            ran_ms=progress.all_run_ms or now_ms,
            now_ms=now_ms,
            overlap_ms=self._p.overlap_ms,
        )
        facts = Facts(
            me=site.me,
            epoch=site.epoch,
            roster=site.roster,
            turn=turn,
            answers=answers,
            upgrading=upgrading,
            wiping=wiping,
            members=members,
            holds=held.generation,
            runs=progress.runs,
            renewing=progress.renewing,
            due=due,
            active=active or due,
            now_ms=now_ms,
            clock=clock,
            life=self._life,
            wanted=self._is_wanted,
        )
        match next_step(facts):
            case plans.Rest(reason):
                return reason
            case plans.Fetch(holders):
                return await self._fetch(site, held, holders)
            case plans.Make(number):
                return await self._make(site, held, number)
            case plans.Renew():
                return await self._renew(site, held, progress)

    async def _there(self, ask: Callable[[], Awaitable[str]], members: Sequence[ClusterMember]) -> str:
        """Whose turn `ask` says it is; a turn that a Node took with it when it left holds up nobody."""
        found = await ask()
        return found if any(one.name == found for one in members) else ""

    async def _see_leaves(self, site: Site) -> None:
        now = self._p.clock.monotonic()
        if now >= self._leaf_at:
            self._leaf_at = now + LEAF_SECONDS
            self._life = await self._p.life(site.own.address)

    async def _all_ran(
        self, site: Site, held: SiteSecrets, answers: Mapping[str, FormationStatus], clock: Reason
    ) -> Progress:
        """Remembers since when all servers run by this generation; the overlap counts from then."""
        progress = self._progress(site.epoch)
        whole = progress.runs == held.generation and not progress.renewing
        others = all(node in answers and answers[node].runs >= held.generation for node in site.others)
        if held.service_account_old and whole and others and clock == NOTHING and not progress.all_run_ms:
            progress = msgspec.structs.replace(progress, all_run_ms=self._p.now_ms())
            await asyncio.to_thread(self._p.progress.save, progress)
        return progress

    async def _take_up(self, turn: Turn, held: SiteSecrets, answers: Mapping[str, FormationStatus]) -> bool:
        """A draft that the Lease knows becomes the site's; one that it does not know as its newest never will, once
        the Lease is past it."""
        draft = self._p.secrets.draft
        if draft is None:
            return False
        made = draft.secrets
        if made.epoch != held.epoch:  # a restored Lease may know it
            await asyncio.to_thread(self._drop)
            return False
        known = (turn.epoch, turn.generation, turn.digest) == (made.epoch, made.generation, digest(made))
        newest = max([held.generation, *(one.holds for one in answers.values() if one.epoch == held.epoch)])
        if known and newest < made.generation:
            await asyncio.to_thread(self._p.secrets.save, made)
            self._p.log.info("the site has new secrets", generation=made.generation)
        elif not known and (turn.epoch, turn.generation) < (made.epoch, made.generation):
            return False  # not told yet: it is told by `_make`, as it is
        await asyncio.to_thread(self._drop)
        return known

    def _drop(self) -> None:
        try:
            self._p.secrets.drop()
        except OSError as error:
            raise Retryable(f"a draft cannot be removed: {error.strerror}") from None

    async def _fetch(self, site: Site, held: SiteSecrets, holders: tuple[str, ...]) -> Reason:
        given = await secrets_of(self._p.siblings, site, holders, self._p.log, above=held.generation)
        if given is None:
            return Reason(Why.SECRETS, "rotation: siblings have newer ones, none gave them")
        node, secrets = given
        await asyncio.to_thread(self._p.secrets.save, secrets)
        self._p.log.info("took the site's new secrets", generation=secrets.generation, sibling=node)
        return Reason(Why.TURN, "rotation")

    async def _make(self, site: Site, held: SiteSecrets, number: int) -> Reason:
        """Draft, then word in the Lease, then the site's. After a crash the draft is told as it was."""
        draft = self._p.secrets.draft
        same = (held.epoch, held.generation, number)
        if draft is None or (draft.secrets.epoch, draft.base, draft.secrets.generation) != same:
            order = site.order(OrderKind.ROTATE)
            made = await asyncio.to_thread(self._p.make, held, number, order.number if order is not None else 0)
            draft = Draft(base=held.generation, secrets=made)
            await asyncio.to_thread(self._p.secrets.sketch, draft)
        await self._p.lease.announce(held.epoch, number, digest(draft.secrets))
        return Reason(Why.TURN, "rotation")  # what the Lease says is seen at the next turn

    async def _renew(self, site: Site, held: SiteSecrets, progress: Progress) -> Reason:
        """Says that it renews before it takes the turn, so that nobody who reads the Lease afterwards takes it."""
        if not progress.renewing:
            await asyncio.to_thread(self._p.progress.save, msgspec.structs.replace(progress, renewing=True))
        if not await self._p.lease.take(site.own.name):
            return Reason(Why.TURN, "rotation: another was faster")
        members = await self._p.distribution.members()
        # Looked again with the turn in hand: whoever upgrades, or is to be wiped, looks at it, too.
        for ask, word in ((self._p.upgrading, "upgraded"), (self._p.wiping, "being wiped")):
            if await self._there(ask, members):
                await self._p.lease.take("")
                return Reason(Why.TURN, f"rotation: another is {word}")
        self._p.log.info("renews", generation=held.generation)
        self._task = asyncio.create_task(self._renewal(site, held), name="renewal")
        return Reason(Why.TURN, "rotation: this node renews its certificates")

    async def _renewal(self, site: Site, held: SiteSecrets) -> None:
        own = site.own
        plan = ClusterPlan(site=site.site, epoch=site.epoch, node=own.name, address=own.address, secrets=held)
        await self._p.distribution.rotate(plan)
        await self._p.settle(plan)
        done = Progress(epoch=site.epoch, runs=held.generation)
        await asyncio.to_thread(self._p.progress.save, done)
        self._p.log.info("renewed", generation=held.generation)
        try:
            if (await self._p.lease.read()).holder == own.name:
                await self._p.lease.take("")
        except GalleyError as error:
            self._p.log.info("the turn could not be let go; others see that it is over", cause=str(error))
