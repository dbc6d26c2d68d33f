"""Touches the cluster: the Lease `kube-system/galley-join`, whose turn it is to join, and whose to be upgraded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected
from edge_commander.formation.slot import Held

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NAME = "galley-join"
UPGRADE = "galley-upgrade"


class Requests(Protocol):
    """The part of agents.io.kube.Kube that is used here."""

    async def request(self, method: str, path: str, *, body: Object | None = None, timeout: float = 10.0) -> Object:
        """One request; raises Retryable or KubeRejected."""


class JoinLease:
    """`connect` gives a connection as an administrator of the cluster; raises Retryable while there is none."""

    def __init__(self, connect: Callable[[], Awaitable[Requests]]) -> None:
        self._connect = connect
        self._last: Object | None = None

    async def holder(self) -> Held:
        """See SlotLease."""
        kube = await self._connect()
        try:
            self._last = await kube.request("GET", f"{PATH}/{NAME}")
        except KubeRejected as error:
            if error.status != 404:
                raise
            self._last = None
        spec: dict[str, Any] = (self._last or {}).get("spec") or {}
        turn = spec.get("leaseTransitions")
        return Held(str(spec.get("holderIdentity") or ""), turn if isinstance(turn, int) else 0)

    async def upgrading(self) -> str:
        """The Node that is upgraded now, by rolling/cluster.py's Lease; empty where none is. Raises Retryable."""
        kube = await self._connect()
        try:
            found = await kube.request("GET", f"{PATH}/{UPGRADE}")
        except KubeRejected as error:
            if error.status != 404:
                raise
            return ""
        return str((found.get("spec") or {}).get("holderIdentity") or "")

    async def take(self, name: str) -> bool:
        """See SlotLease."""
        kube = await self._connect()
        before = self._last or {}
        meta: Object = {"name": NAME, "namespace": "kube-system"}
        transitions = (before.get("spec") or {}).get("leaseTransitions") or 0
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "acquireTime": stamp, "renewTime": stamp, "leaseTransitions": transitions + 1}
        body: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            if self._last is None:
                self._last = await kube.request("POST", PATH, body=body)
            else:
                meta["resourceVersion"] = before["metadata"]["resourceVersion"]
                self._last = await kube.request("PUT", f"{PATH}/{NAME}", body=body)
        except KubeRejected as error:
            if error.status not in (404, 409):
                raise
            return False
        return True
