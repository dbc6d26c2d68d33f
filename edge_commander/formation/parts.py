"""What the former works with: its ports, and all of them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.identity import Member
from agents.contracts.siblings import SlotAnswer, SlotRequest
from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterPlan, Distribution, NodeAccess
from edge_commander.formation import ask
from edge_commander.formation.permission import Gate
from edge_commander.formation.record import Record
from edge_commander.secrets.model import SiteSecrets

if TYPE_CHECKING:
    from edge_commander.rolling.roller import Roller  # only a site that was ordered an upgrade pays for it


class Siblings(ask.Siblings, Protocol):
    """What is asked of siblings besides."""

    async def slot(self, member: Member, request: SlotRequest) -> SlotAnswer:
        """Whether it is our turn to join."""

    async def access(self, member: Member, epoch: int) -> NodeAccess:
        """A worker's: certificates that a member made for a new key of ours."""


class RecordStore(Protocol):
    """`formation.json` on ident."""

    record: Record

    @property
    def kept(self) -> bool:
        """Whether `var` was not wiped since this epoch's cluster was begun on it."""

    def save(self, record: Record) -> None:
        """On disk when it returns. Raises Retryable."""


class SecretsStore(Protocol):
    """The site's secrets on `var`: gone with the cluster's data when that is wiped."""

    @property
    def secrets(self) -> SiteSecrets | None:
        """What is held, of whatever epoch."""

    def save(self, secrets: SiteSecrets) -> None:
        """On disk when it returns. Raises Retryable, and Rejected for what would go back."""

    def clear(self) -> None:
        """Forgets them. Raises OSError."""


async def nobody() -> str:
    """Whose turn it is where nothing of the kind is done."""
    return ""


@dataclass(frozen=True)
class Parts:
    """What the former works with. `make(site, epoch)`: new secrets. `settle(plan)`: gives the suite's daemons their
    rights and kubeconfigs, once a start. `ran(epoch, generation)`: hears by which secrets this node was made a member.
    `roller`: makes what upgrades; None where nothing does. `now_ms`: the time that this node believes, Unix ms;
    `confirmed`: the endpoint said it, so that no sibling is asked. `reached`: where siblings were last, by node id.
    `upgrading`: the Node whose turn to be upgraded it is; empty: none."""

    distribution: Distribution
    siblings: Siblings
    records: RecordStore
    secrets: SecretsStore
    gate: Gate
    settle: Callable[[ClusterPlan], Awaitable[None]]
    make: Callable[[str, int], SiteSecrets]
    clock: Clock
    log: FilteringBoundLogger
    ran: Callable[[int, int], None] = lambda epoch, generation: None
    roller: Callable[[], Roller] | None = None
    now_ms: Callable[[], int] = lambda: 0
    confirmed: Callable[[], bool] = lambda: True
    reached: Callable[[], Mapping[str, str]] = dict
    upgrading: Callable[[], Awaitable[str]] = nobody
