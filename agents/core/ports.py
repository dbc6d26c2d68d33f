"""The ports: what pure code and shells ask of the world, as Protocols that adapters fill. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from agents.contracts.identity import GitCredential, SiteDocument
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.messages import Body


class Clock(Protocol):
    """Time as a dependency, so that tests can turn it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def wall_ms(self) -> int:
        """Unix time in ms, as this machine believes it."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""


@dataclass(frozen=True)
class MachineFacts:
    """What identifies the host. `hardware_id` is kept for life; `boot_id` changes at each boot.

    `proc_root`, `sys_root`: where /proc and /sys of this node are.
    """

    hardware_id: str
    serial: str
    boot_id: str
    hostname: str
    hardware: str
    proc_root: str = "/proc"
    sys_root: str = "/sys"


class Machine(Protocol):
    """The host, or a file that plays it."""

    def facts(self) -> MachineFacts:
        """Reads the facts anew; raises Rejected when they cannot be read."""


class Outbox(Protocol):
    """One stream's durable queue; see agents/io/outbox."""

    async def put(self, body: Body, *, durable: bool = False) -> int:
        """Stores a message and returns its sequence number. With `durable` it survives a power cut on return."""

    async def batch(self, max_messages: int, max_bytes: int) -> IngestRequest | None:
        """The next batch to send (newest first allowed), or None when nothing is queued."""

    async def settle(self, request: IngestRequest, answer: IngestAnswer) -> int:
        """Removes what the cloud settled; returns how many messages are still queued."""

    async def wait(self) -> None:
        """Returns when something is queued."""

    async def pending(self) -> int:
        """How many messages are queued."""


class Uplink(Protocol):
    """Carries batches to the cloud endpoint."""

    async def ingest(self, request: IngestRequest) -> IngestAnswer:
        """Raises Retryable when the endpoint cannot be reached or is busy, Rejected when it refuses the batch."""


class Identity(Protocol):
    """The identity socket of Edge Commander, as a client sees it."""

    async def token(self) -> str:
        """A valid access token with this role's scope. Raises Retryable while there is none."""

    async def site(self) -> SiteDocument:
        """The site document. Raises Retryable while the node is not enrolled or the socket is gone."""

    async def git_credential(self) -> GitCredential:
        """A short-lived Git credential. Raises Retryable or Rejected."""


class Notifier(Protocol):
    """sd_notify(3)."""

    def ready(self) -> None:
        """Sends `READY=1`."""

    def watchdog(self) -> None:
        """Sends `WATCHDOG=1`."""

    def status(self, text: str) -> None:
        """Sends `STATUS=`."""

    def stopping(self) -> None:
        """Sends `STOPPING=1`."""


Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class ApiProblem(msgspec.Struct, frozen=True):
    """What the API server said no to: HTTP status, reason and message of its Status object, field causes."""

    status: int
    reason: str
    message: str
    causes: Sequence[str] = ()
