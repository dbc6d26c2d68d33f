"""Which pods of a node are asked to go before it is upgraded. Pure.

Source of the rules: kubectl drain. Left alone are pods that end with the node anyway (static ones), those that would
be made here again at once (DaemonSets'), and those that have ended. The API server holds evictions against the
PodDisruptionBudgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.core.ports import Object

MIRROR = "kubernetes.io/config.mirror"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Pod:
    """One that is to go. `going`: its end was asked for already."""

    namespace: str
    name: str
    uid: str
    going: bool = False

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.namespace}/{self.name}"


def evictable(pods: Sequence[Object]) -> list[Pod]:
    """The pods of one node that are to go, by namespace and name."""
    found = []
    for pod in pods:
        meta, status = pod.get("metadata") or {}, pod.get("status") or {}
        owners = meta.get("ownerReferences") or []
        if MIRROR in (meta.get("annotations") or {}) or status.get("phase") in _ENDED:
            continue
        if any(one.get("kind") == "DaemonSet" and one.get("controller") for one in owners):
            continue
        found.append(
            Pod(
                str(meta.get("namespace", "")),
                str(meta.get("name", "")),
                str(meta.get("uid", "")),
                going=bool(meta.get("deletionTimestamp")),
            )
        )
    return sorted(found, key=lambda one: (one.namespace, one.name))


def eviction(pod: Pod) -> Object:
    """The body that asks for it: of this very pod, not of one that took its name."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
