"""What an upgrade asks of the cluster besides its members. Touches its Lease `kube-system/galley-upgrade`, this node's
Node, and the pods on it.

Done by the commander's own user, with the rights that distribution/settle.py gives: no administrator is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.core.errors import Retryable
from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected
from edge_commander.formation.kube_lease import KubeLease
from edge_commander.formation.lease import UPGRADE as LEASE
from edge_commander.rolling.plan import Turn
from edge_commander.rolling.pods import Pod, evictable, eviction

MARK = "galley/cordoned-for"
"""Annotation of a Node that we cordoned: the order's number. In the same write as the cordon, so none is without."""
_ORDER, _TRIES, _STOPPED, _WHY = (f"galley/{one}" for one in ("order", "tries", "stopped", "why"))
_MERGE = "application/merge-patch+json"
_WHY_CHARS = 300


@dataclass(frozen=True)
class OwnNode:
    """This node's Node: `cordoned`: unschedulable; `marked`: by us; `version`: its resourceVersion."""

    cordoned: bool
    marked: bool
    version: str


class RollingCluster:
    """`connect` gives a connection; raises Retryable while there is none. `mark`: the annotation that says whose the
    cordon is."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], mark: str = MARK) -> None:
        self._connect = connect
        self._mark = mark
        self._lease = KubeLease(connect, LEASE)

    async def turn(self) -> Turn:
        """Whose turn it is. Raises Retryable."""
        await self._lease.read()
        return read_turn(self._lease)

    async def put(self, turn: Turn) -> bool:
        """Replaces the Lease that `turn` read last; False when another was faster. Raises Retryable."""
        return await self._lease.write(turn.holder, notes_of(turn), turns=self._lease.turns + 1)

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

    async def cordon(self, name: str, number: int) -> None:
        """Cordons and marks it, unless a person was faster: then it stays theirs. Raises Retryable."""
        found = await self.node(name)
        if not found.cordoned:
            await self._patch(name, found.version, {"unschedulable": True}, str(number))

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


def read_turn(found: KubeLease) -> Turn:
    """The turn that the Lease says. What is no number counts as 0."""
    notes = found.notes
    return Turn(
        holder=found.holder,
        order=_number(notes.get(_ORDER)),
        tries=_number(notes.get(_TRIES)),
        stopped=str(notes.get(_STOPPED, "")),
        why=str(notes.get(_WHY, "")),
    )


def notes_of(turn: Turn) -> dict[str, str]:
    """The annotations that say it."""
    notes = {_ORDER: str(turn.order), _TRIES: str(turn.tries)}
    return notes | {_STOPPED: turn.stopped, _WHY: turn.why[:_WHY_CHARS]} if turn.stopped else notes


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 17 else 0
