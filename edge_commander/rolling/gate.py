"""A node's door for pods: shut before it is taken away, opened again. Touches its Node and the pods on it.

Done by the commander's own user, with the rights that distribution/settle.py gives: no administrator is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.core.errors import Retryable
from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected
from edge_commander.rolling.pods import Pod, evictable, eviction

_MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class OwnNode:
    """This node's Node: `cordoned`: unschedulable; `marked`: by us; `version`: its resourceVersion."""

    cordoned: bool
    marked: bool
    version: str


class Gate:
    """`connect` gives a connection; raises Retryable while there is none. `mark`: the annotation that says that a
    cordon is ours, and why."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], mark: str) -> None:
        self._connect = connect
        self._mark = mark

    async def node(self, name: str) -> OwnNode:
        """A Node. Raises Retryable."""
        kube = await self._connect()
        found = await kube.request("GET", f"/api/v1/nodes/{name}")
        meta = found.get("metadata") or {}
        return OwnNode(
            cordoned=bool((found.get("spec") or {}).get("unschedulable")),
            marked=self._mark in (meta.get("annotations") or {}),
            version=str(meta.get("resourceVersion", "")),
        )

    async def cordon(self, name: str, word: object) -> None:
        """Cordons and marks it, unless a person was faster: then it stays theirs. Raises Retryable."""
        found = await self.node(name)
        if not found.cordoned:
            await self._patch(name, found.version, {"unschedulable": True}, str(word))

    async def uncordon(self, name: str) -> None:
        """Takes back what `cordon` did; nothing where there is no mark. Raises Retryable."""
        found = await self.node(name)
        if found.marked:
            await self._patch(name, found.version, {"unschedulable": None}, None)

    async def _patch(self, name: str, version: str, spec: Object, mark: str | None) -> None:
        kube = await self._connect()
        body = {"metadata": {"resourceVersion": version, "annotations": {self._mark: mark}}, "spec": spec}
        try:
            await kube.request("PATCH", f"/api/v1/nodes/{name}", body=body, content_type=_MERGE)
        except KubeRejected as error:
            if error.status != 409:  # the kubelet writes it too: looked at again next time
                raise
            raise Retryable(f"Node {name} was changed meanwhile") from None

    async def evict(self, name: str) -> list[Pod]:
        """Asks for the eviction of every pod on the node that is to go; those that are still there. Raises Retryable.

        One that a PodDisruptionBudget keeps (HTTP 429) is asked for again the next time.
        """
        kube = await self._connect()
        selector = {"fieldSelector": f"spec.nodeName={name}"}
        found = evictable((await kube.request("GET", "/api/v1/pods", params=selector)).get("items") or [])
        for pod in found:
            if pod.going:
                continue
            path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
            try:
                await kube.request("POST", path, body=eviction(pod))
            except KubeRejected as error:
                if error.status not in (404, 409):  # gone, or another of that name
                    raise
            except Retryable:
                continue
        return found
