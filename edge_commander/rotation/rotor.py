"""The shell of plan.py: a member's part in rotations and renewals. Touches siblings, `var` and the cluster.

Level-triggered: a turn may be the first after any crash. A renewal runs beside the turns, as it takes a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus
from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterMember, ClusterPlan
from edge_commander.formation.site import Site
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rotation import plan as plans
from edge_commander.rotation.plan import Facts, Life, Turn, next_step
from edge_commander.rotation.store import Progress
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.rotation import digest, is_due
from edge_commander.secrets.store import Draft

LOOK_SECONDS = 60.0
"""How often a member looks while nothing is to be done, and after a step that failed."""
LEAF_SECONDS = 3600.0
"""How often it looks when its certificates end."""
OVERLAP_MS = 24 * 3600 * 1000
"""How long the service accounts' old key is accepted once all sign with the new one. A kubelet fetches a pod's token
anew once it is 24 h old, or most of its life is over (kubernetes.io: Managing Service Accounts)."""


class Siblings(Protocol):
    """What is asked of siblings. Each raises Retryable or Rejected."""

    async def status(self, member: Member) -> FormationStatus:
        """How far it is."""

    async def secrets(self, member: Member, site: str, epoch: int) -> SiteSecrets:
        """The epoch's secrets that it holds, opened and checked."""


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
    """What it works with. `make(held, number)`: the next generation. `wanted`: the generation that an operator ordered;
    0: none. `life`: of the certificates at this node's address. `settle`: see former.Parts. `now_ms`: Unix ms."""

    distribution: Cluster
    siblings: Siblings
    lease: TurnLease
    secrets: SecretsStore
    progress: ProgressStore
    make: Callable[[SiteSecrets, int], SiteSecrets]
    wanted: Callable[[], int]
    settle: Callable[[ClusterPlan], Awaitable[None]]
    life: Callable[[str], Awaitable[Life | None]]
    now_ms: Callable[[], int]
    clock: Clock
    log: FilteringBoundLogger
    overlap_ms: int = OVERLAP_MS


class Rotor:
    """One member's. `turn` takes one step; NOTHING: it has nothing to do, or only others have."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._task: asyncio.Task[None] | None = None
        self._look_at = float("-inf")
        self._leaf_at = float("-inf")
        self._life: Life | None = None
        self._reason = NOTHING

    @property
    def busy(self) -> bool:
        """Whether a renewal is under way."""
        return self._task is not None and not self._task.done()

    def ran(self, secrets: SiteSecrets) -> None:
        """This node was made a member by them; nothing is left to renew. Raises Retryable."""
        self._p.progress.save(Progress(epoch=secrets.epoch, runs=secrets.generation))

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
        ordered = self._p.wanted() > held.generation and not held.service_account_old
        active = ordered or bool(held.service_account_next)
        behind = progress.renewing or progress.runs < held.generation
        if now < self._look_at and not ((active or behind) and self._reason.why is not Why.STARTING):
            return self._reason if active or behind else NOTHING
        self._look_at = now + LOOK_SECONDS
        try:
            self._reason = await self._look(site, held, clock, active=active or behind)
        except GalleyError as error:
            if _is_disk(error):
                raise
            self._p.log.info("a rotation cannot go on yet", cause=str(error))
            self._reason = Reason(Why.STARTING, "rotation: tries again") if active or behind else NOTHING
        return self._reason
