"""A cluster that somebody else formed and keeps: observed through its API, never changed. Touches that API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from edge_commander.distribution.port import (
    ClusterHealth,
    ClusterMember,
    ClusterPlan,
    Operation,
    Snapshot,
    Unsupported,
)

TIMEOUT = 5.0
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
WHY = "it is kept by others"


class KubeApi(Protocol):
    """The part of agents.io.kube.Kube that is used here."""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> Object:
        """One request; raises Retryable or Rejected."""

    async def aclose(self) -> None:
        """Closes the connection."""


Connect = Callable[[Path | None], Any]
"""Returns an awaitable of a KubeApi; raises Rejected when the kubeconfig is not usable."""


class ExistingCluster:
    """The `existing` implementation of Distribution. Connects at the first question; after a Rejected it reads the
    kubeconfig anew, so that a person's repair is seen without a restart."""

    name = "existing"

    def __init__(self, kubeconfig: Path | None, connect: Connect) -> None:
        self._kubeconfig = kubeconfig
        self._connect = connect
        self._kube: KubeApi | None = None

    async def members(self) -> list[ClusterMember]:
        """See Distribution: its Nodes."""
        answer = await self._ask("/api/v1/nodes")
        items = answer.get("items")
        if not isinstance(items, list):
            raise Retryable("API server: the list of nodes is malformed")
        return sorted((member(item) for item in items if isinstance(item, dict)), key=lambda one: one.name)

    async def health(self) -> ClusterHealth:
        """See Distribution: one Node is read, which needs etcd as `/readyz` does, and no further permission."""
        try:
            await self._ask("/api/v1/nodes", {"limit": "1"})
        except Retryable as error:
            return ClusterHealth(api=False, problem=str(error))
        return ClusterHealth(api=True)

    async def client(self) -> Any:
        """The connection, opened where it is not yet. Raises Retryable, also where the kubeconfig may still come."""
        try:
            if self._kube is None:
                self._kube = await self._connect(self._kubeconfig)
        except Rejected as error:
            raise Retryable(str(error)) from None
        return self._kube

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._kube is not None:
            await self._kube.aclose()
            self._kube = None

    async def init(self, plan: ClusterPlan) -> None:
        """Unsupported."""
        self._refuse(Operation.INIT)

    async def join(self, plan: ClusterPlan) -> None:
        """Unsupported."""
        self._refuse(Operation.JOIN)

    async def remove(self, member: str) -> None:
        """Unsupported."""
        self._refuse(Operation.REMOVE)

    async def snapshot(self, name: str) -> str:
        """Unsupported."""
        self._refuse(Operation.SNAPSHOT)

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        """Unsupported."""
        self._refuse(Operation.RESTORE)

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        """Unsupported."""
        self._refuse(Operation.ROTATE)

    async def upgrade(self, version: str) -> None:
        """Unsupported."""
        self._refuse(Operation.UPGRADE)

    async def reset(self) -> None:
        """Unsupported."""
        self._refuse(Operation.RESET)

    async def stop(self) -> None:
        """Unsupported."""
        self._refuse(Operation.STOP)

    async def snapshots(self) -> list[Snapshot]:
        """Unsupported."""
        self._refuse(Operation.SNAPSHOTS)

    def _refuse(self, operation: Operation) -> NoReturn:
        raise Unsupported(self.name, operation, WHY)

    async def _ask(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        try:
            if self._kube is None:
                self._kube = await self._connect(self._kubeconfig)
            return await self._kube.request("GET", path, params=params, timeout=TIMEOUT)
        except Rejected:
            await self.aclose()
            raise


def member(node: Object) -> ClusterMember:
    """Reads a Node object."""
    metadata = node.get("metadata") or {}
    status = node.get("status") or {}
    conditions = status.get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ClusterMember(
        name=str(metadata.get("name", "")),
        ready=ready,
        server=CONTROL_PLANE in (metadata.get("labels") or {}),
        version=str((status.get("nodeInfo") or {}).get("kubeletVersion", "")),
        addresses=tuple(str(a.get("address", "")) for a in status.get("addresses") or ()),
    )
