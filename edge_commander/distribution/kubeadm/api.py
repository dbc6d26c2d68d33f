"""The few questions to the Kubernetes API that forming a cluster needs. Touches that API.

A connection is made for each question: they are rare, and the addresses and certificates behind them change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from edge_commander.distribution.existing import CONTROL_PLANE, Connect

TIMEOUT = 5.0
NOT_FOUND = 404


class Api:
    """One API server, reached by a kubeconfig."""

    def __init__(self, kubeconfig: Path, connect: Connect) -> None:
        self._kubeconfig = kubeconfig
        self._connect = connect

    async def cluster(self) -> str:
        """The UID of the namespace kube-system: the identity of the cluster. Raises Retryable until it is there."""
        found = await self._get("/api/v1/namespaces/kube-system")
        uid = str(((found or {}).get("metadata") or {}).get("uid", ""))
        if not uid:
            raise Retryable("the cluster has no namespace kube-system yet")
        return uid

    async def nodes(self) -> list[str]:
        """The names of its Nodes."""
        found = await self._get("/api/v1/nodes")
        items: list[Object] = (found or {}).get("items") or []
        return sorted(str(item["metadata"]["name"]) for item in items)

    async def is_server(self, node: str) -> bool:
        """Whether the Node is there and marked as control plane, which kubeadm does late."""
        found = await self._get(f"/api/v1/nodes/{node}")
        return CONTROL_PLANE in (((found or {}).get("metadata") or {}).get("labels") or {})

    async def node_ready(self, node: str) -> tuple[bool, str]:
        """Whether the Node is Ready, and its kubelet's version without `v`."""
        status = ((await self._get(f"/api/v1/nodes/{node}")) or {}).get("status") or {}
        ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions", []))
        return ready, str((status.get("nodeInfo") or {}).get("kubeletVersion", "")).removeprefix("v")

    async def cluster_version(self) -> str:
        """The version that kubeadm's configuration in the cluster names, without `v`."""
        found = await self._get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
        text = str(((found or {}).get("data") or {}).get("ClusterConfiguration", ""))
        for line in text.splitlines():
            if line.startswith("kubernetesVersion:"):
                return line.split(":", 1)[1].strip().removeprefix("v")
        raise Rejected("the cluster has no configuration of kubeadm", obj="configmap kube-system/kubeadm-config")

    async def delete_node(self, node: str) -> None:
        """Deletes a Node; nothing when it is not there."""
        await self.delete(f"/api/v1/nodes/{node}")

    async def delete(self, path: str) -> None:
        """Deletes an object; nothing when it is not there."""
        await self._request("DELETE", path)

    async def _get(self, path: str) -> Object | None:
        return await self._request("GET", path)

    async def _request(self, method: str, path: str) -> Object | None:
        kube: Any = await self._connect(self._kubeconfig)
        try:
            answer: Object = await kube.request(method, path, timeout=TIMEOUT)
        except Rejected as error:
            if getattr(error, "status", 0) == NOT_FOUND:
                return None
            raise
        finally:
            await kube.aclose()
        return answer
