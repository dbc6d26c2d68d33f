"""A Distribution whose privileged half is another process, asked over a unix socket. Touches that socket.

Reading (`members`, `health`) goes to the cluster's API as the commander's own user; everything else to the root half.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from agents.core.errors import Retryable
from edge_commander.distribution.port import ClusterHealth, ClusterMember, ClusterPlan, Operation, Snapshot
from edge_commander.distribution.wire import IMAGES, PULL, SETTLE, Ask
from edge_commander.halves.client import ask

SECONDS = 1800.0
"""The longest that an operation may take; each bounds itself long before."""


class Observer(Protocol):
    """What is read of a cluster, with no privileges on this machine."""

    async def members(self) -> list[ClusterMember]:
        """See Distribution."""

    async def health(self) -> ClusterHealth:
        """See Distribution."""

    async def client(self) -> Any:
        """The Kubernetes client that it reads by. Raises Retryable."""

    async def aclose(self) -> None:
        """Closes connections."""


class Apart:
    """`observer` answers what is only read."""

    def __init__(self, name: str, socket: Path, observer: Observer) -> None:
        self._name = name
        self._socket = socket
        self._observer = observer

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self._name

    async def init(self, plan: ClusterPlan) -> None:
        """See Distribution."""
        await self._ask(Operation.INIT, plan=plan)

    async def join(self, plan: ClusterPlan) -> None:
        """See Distribution."""
        await self._ask(Operation.JOIN, plan=plan)

    async def members(self) -> list[ClusterMember]:
        """See Distribution."""
        return await self._observer.members()

    async def health(self) -> ClusterHealth:
        """See Distribution."""
        return await self._observer.health()

    async def remove(self, member: str) -> None:
        """See Distribution."""
        await self._ask(Operation.REMOVE, member)

    async def snapshot(self, name: str) -> str:
        """See Distribution."""
        return str(await self._ask(Operation.SNAPSHOT, name))

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        """See Distribution."""
        await self._ask(Operation.RESTORE, snapshot, plan=plan)

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        """See Distribution."""
        await self._ask(Operation.ROTATE, plan=plan)

    async def upgrade(self, version: str) -> None:
        """See Distribution."""
        await self._ask(Operation.UPGRADE, version)

    async def reset(self) -> None:
        """See Distribution."""
        await self._ask(Operation.RESET)

    async def stop(self) -> None:
        """See Distribution."""
        await self._ask(Operation.STOP)

    async def snapshots(self) -> list[Snapshot]:
        """See Distribution."""
        found = await self._ask(Operation.SNAPSHOTS)
        try:
            return msgspec.convert(found, list[Snapshot])
        except msgspec.ValidationError as error:
            raise Retryable(f"{self._socket}: the list of snapshots is malformed: {error}") from None

    async def settle(self, plan: ClusterPlan) -> None:
        """Gives the suite's daemons their rights and kubeconfigs, by the site's authority in the plan. Idempotent."""
        await self._ask(SETTLE, plan=plan)

    async def images(self) -> frozenset[str]:
        """The images that this node's containerd has whole, by name. Raises Retryable, Rejected."""
        return frozenset(str(one) for one in await self._ask(IMAGES) or ())

    async def pull(self, image: str) -> tuple[bool, int]:
        """One try at an image: whether it is here whole, and the bytes that came. Raises Retryable, Rejected."""
        value = await self._ask(PULL, image)
        if not isinstance(value, dict):
            raise Retryable(f"{self._socket}: {PULL} ended without an answer")
        return bool(value.get("done")), int(value.get("fetched") or 0)

    async def client(self) -> Any:
        """The Kubernetes client of the commander's own user. Raises Retryable while there is none."""
        return await self._observer.client()

    async def aclose(self) -> None:
        """Closes the observer's connections."""
        await self._observer.aclose()

    async def _ask(self, operation: str, argument: str = "", *, plan: ClusterPlan | None = None) -> Any:
        request = Ask(operation=str(operation), argument=argument, plan=plan)
        return await ask(self._socket, request.operation, request, SECONDS)
