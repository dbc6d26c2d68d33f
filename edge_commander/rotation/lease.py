"""Touches the cluster: the Lease `kube-system/galley-rotation`: who renews, and what the newest generation is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected
from edge_commander.formation.lease import PATH, Requests
from edge_commander.rotation.plan import Turn

NAME = "galley-rotation"
_EPOCH, _GENERATION, _DIGEST = "galley/epoch", "galley/generation", "galley/digest"


class RotationLease:
    """`connect` gives a connection to the cluster; raises Retryable while there is none. Each write is compared and
    set against what `read` read last: False when another was faster."""

    def __init__(self, connect: Callable[[], Awaitable[Requests]]) -> None:
        self._connect = connect
        self._last: Object | None = None

    async def read(self) -> Turn:
        """The Lease now. Raises Retryable."""
        kube = await self._connect()
        try:
            self._last = await kube.request("GET", f"{PATH}/{NAME}")
        except KubeRejected as error:
            if error.status != 404:
                raise
            self._last = None
        said = self._said()
        holder = str(((self._last or {}).get("spec") or {}).get("holderIdentity") or "")
        return Turn(holder, _number(said.get(_EPOCH)), _number(said.get(_GENERATION)), str(said.get(_DIGEST, "")))

    async def holder(self) -> str:
        """The Node whose turn it is; empty: nobody's. Leaves what `read` read as it was. Raises Retryable."""
        return (await RotationLease(self._connect).read()).holder

    async def take(self, name: str) -> bool:
        """The turn, for the Node of that name; empty lets it go."""
        return await self._write(name, self._said())

    async def announce(self, epoch: int, generation: int, digest: str) -> bool:
        """Says what the newest generation is; who holds the turn stays."""
        holder = str(((self._last or {}).get("spec") or {}).get("holderIdentity") or "")
        said = {_EPOCH: str(epoch), _GENERATION: str(generation), _DIGEST: digest}
        return await self._write(holder, {**self._said(), **said})

    def _said(self) -> dict[str, Any]:
        return dict(((self._last or {}).get("metadata") or {}).get("annotations") or {})

    async def _write(self, holder: str, annotations: dict[str, Any]) -> bool:
        kube = await self._connect()
        before = self._last or {}
        meta: Object = {"name": NAME, "namespace": "kube-system", "annotations": annotations}
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        turns = ((before.get("spec") or {}).get("leaseTransitions") or 0) + 1
        spec = {"acquireTime": stamp, "renewTime": stamp, "leaseTransitions": turns}
        if holder:
            spec["holderIdentity"] = holder
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


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else 0
