"""What a wipe works with: ports of the root half, of the cluster and of the endpoint. Touches nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.command import SignedCommand
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.wipe import WipeGrant
from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterMember, Distribution
from edge_commander.memory import Memory
from edge_commander.rolling.pods import Pod
from edge_commander.settings import WipeSettings
from edge_commander.wiping.duty import DutyFile


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

    async def busy(self, me: str, members: Sequence[ClusterMember], names: Collection[str]) -> str:
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
