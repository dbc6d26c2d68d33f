"""One Lease in kube-system, replaced by compare and set. Touches the cluster.

It says whose turn something is: of the many that want to write it at once, the API server lets one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


def number(text: object) -> int:
    """A number that stands in a Lease's annotation; 0 for what is none: anybody with the right may have written it."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 17 else 0


class Requests(Protocol):
    """The part of agents.io.kube.Kube that is used here."""

    async def request(self, method: str, path: str, *, body: Object | None = None, timeout: float = 10.0) -> Object:
        """One request; raises Retryable or KubeRejected."""


class KubeLease:
    """`connect` gives a connection; raises Retryable while there is none. `last`: as it was read or written last."""

    def __init__(self, connect: Callable[[], Awaitable[Requests]], name: str) -> None:
        self._connect = connect
        self._name = name
        self.last: Object = {}

    @property
    def holder(self) -> str:
        """Of `last`; empty where there is none."""
        return str((self.last.get("spec") or {}).get("holderIdentity") or "")

    @property
    def turns(self) -> int:
        """How often `last` changed hands."""
        found = (self.last.get("spec") or {}).get("leaseTransitions")
        return found if isinstance(found, int) else 0

    @property
    def notes(self) -> dict[str, Any]:
        """Annotations of `last`."""
        return dict((self.last.get("metadata") or {}).get("annotations") or {})

    async def read(self) -> None:
        """Renews `last`; `{}` where there is no such Lease. Raises Retryable."""
        kube = await self._connect()
        try:
            self.last = await kube.request("GET", f"{PATH}/{self._name}")
        except KubeRejected as error:
            if error.status != 404:
                raise
            self.last = {}

    async def write(self, holder: str, notes: Mapping[str, Any], *, turns: int) -> bool:
        """In place of `last`; False when another was faster. Raises Retryable. Empty `holder`: nobody's."""
        kube = await self._connect()
        meta: Object = {"name": self._name, "namespace": "kube-system", "annotations": dict(notes)}
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Object = {"acquireTime": stamp, "renewTime": stamp, "leaseTransitions": turns}
        if holder:
            spec["holderIdentity"] = holder
        body: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        try:
            if not self.last:
                self.last = await kube.request("POST", PATH, body=body)
            else:
                meta["resourceVersion"] = self.last["metadata"]["resourceVersion"]
                self.last = await kube.request("PUT", f"{PATH}/{self._name}", body=body)
        except KubeRejected as error:
            if error.status not in (404, 409):
                raise
            return False
        return True
