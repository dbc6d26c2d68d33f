"""The API server and etcd of the k3s on this node, as its administrator. Touches both, over loopback."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.host import Place
from edge_commander.distribution.k3s.removal import EtcdMember

TIMEOUT = 5.0
MERGE = "application/merge-patch+json"
_NOT_FOUND = 404


class KubeApi(Protocol):
    """The part of agents.io.kube.Kube that is used here."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> Object:
        """One request; raises Retryable or Rejected."""

    async def aclose(self) -> None:
        """Closes the connection."""


Connect = Callable[[Path | None], Any]
"""Returns an awaitable of a KubeApi; raises Rejected when the kubeconfig is not usable."""


class Api:
    """Connects at the first request. After a refusal the kubeconfig is read anew: k3s writes it again at each start."""

    def __init__(self, kubeconfig: Path, connect: Connect) -> None:
        self._kubeconfig = kubeconfig
        self._connect = connect
        self._kube: KubeApi | None = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object | None:
        """An object or a list; None when there is none of that path."""
        return await self._ask("GET", path, params=params)

    async def annotate(self, path: str, annotations: Mapping[str, str]) -> None:
        """Sets annotations."""
        body: Object = {"metadata": {"annotations": dict(annotations)}}
        await self._ask("PATCH", path, body=body, content_type=MERGE)

    async def delete(self, path: str) -> None:
        """Deletes; nothing when it is not there."""
        await self._ask("DELETE", path)

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._kube is not None:
            await self._kube.aclose()
            self._kube = None

    async def _ask(self, method: str, path: str, **more: Any) -> Object | None:
        if not self._kubeconfig.is_file():
            raise Retryable(f"{self._kubeconfig}: k3s has not written it yet")
        try:
            if self._kube is None:
                self._kube = await self._connect(self._kubeconfig)
            return await self._kube.request(method, path, timeout=TIMEOUT, **more)
        except KubeRejected as error:
            if error.status == _NOT_FOUND:
                return None
            await self.aclose()
            raise
        except Rejected:
            await self.aclose()
            raise


class Etcd:
    """etcd's API in JSON, on its port for HTTP, with k3s' own client certificate."""

    def __init__(self, place: Place, gateway: str = reference.name("etcd-gateway")) -> None:
        self._place = place
        self._gateway = gateway

    async def members(self) -> list[EtcdMember]:
        """All members, by the word of a quorum. Raises Retryable."""
        answer = await self._post("/v3/cluster/member/list", {"linearizable": True})
        found = answer.get("members")
        if not isinstance(found, list):
            raise Retryable("etcd: the list of members is malformed")
        return [
            EtcdMember(str(one.get("ID", "")), str(one.get("name", "")), bool(one.get("isLearner", False)))
            for one in found
        ]

    async def remove(self, id: str) -> None:
        """Takes a member out. Raises Retryable; etcd refuses where the quorum would be lost."""
        await self._post("/v3/cluster/member/remove", {"ID": id})

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            context = self._context()
            connector = aiohttp.TCPConnector(ssl=context)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post(self._gateway + path, data=msgspec.json.encode(body)) as response,
            ):
                answer = await response.read()
                if response.status >= 300:
                    raise Retryable(f"etcd: {path}: HTTP {response.status}: {answer[:200].decode(errors='replace')}")
                return msgspec.json.decode(answer)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise Retryable(f"etcd: {path}: {type(error).__name__}") from None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._place(reference.path("etcd-server-ca-cert"))))
        context.load_cert_chain(
            self._place(reference.path("etcd-client-cert")), self._place(reference.path("etcd-client-key"))
        )
        return context
