"""The API that commanders see: objects as JSON in etcd, under their path, compared and set by revision as the real one
does (Kubernetes API conventions, "Concurrency Control and Consistency"). Nothing is validated, nobody is refused.

A Node is Ready while its box renewed it lately; all boxes of a site share this machine's clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agents.core.errors import Retryable
from agents.core.ports import ApiProblem, Object
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.kubeadm import layout
from tests.site_in_a_box.etcd_site.store import Kept, Store

NODES = "/api/v1/nodes"
GRACE_SECONDS = 6.0
"""A real controller manager waits 40 s; nothing in this is judged by it but what is Ready."""


async def connect(kubeconfig: Path | None) -> EtcdKube:
    """In the place of edge_commander.distribution.choice.connect."""
    assert kubeconfig is not None
    return EtcdKube(kubeconfig)


class EtcdKube:
    """One connection; the kubeconfig says where to, the certificates beside it (or kubeadm's) let it in."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        timeout: float = 10.0,
    ) -> Object:
        """One request."""
        return await asyncio.to_thread(self.ask, method, path, body)

    async def aclose(self) -> None:
        """Nothing is held."""

    def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """The same, blocking. Raises Retryable, and KubeRejected for 404 and 409."""
        store = open_store(self._kubeconfig)
        match method:
            case "GET" if path == NODES:
                return {"items": [_judged(_read(one)) for one in store.under(f"{NODES}/")]}
            case "GET":
                return _judged(_read(_there(store, path)))
            case "POST":
                assert body is not None
                return self._put(store, f"{path}/{body['metadata']['name']}", body, 0)
            case "PUT":
                assert body is not None
                return self._put(store, path, body, int(body["metadata"]["resourceVersion"]))
            case _:
                _there(store, path)
                store.delete(path)
                return {}

    def _put(self, store: Store, path: str, body: Object, after: int) -> Object:
        if not store.put(path, json.dumps(body).encode(), after=after):
            raise KubeRejected(ApiProblem(status=409, reason="Conflict", message=f"{path} was changed"))
        return _read(_there(store, path))


def open_store(kubeconfig: Path) -> Store:
    """The etcd of the server that a kubeconfig names."""
    try:
        server = json.loads(kubeconfig.read_bytes())["clusters"][0]["cluster"]["server"]
    except (OSError, ValueError) as error:
        raise Retryable(f"{kubeconfig}: {type(error).__name__}") from None
    folder, host = kubeconfig.parent, str(urlsplit(server).hostname)
    if (folder / "etcd.crt").exists():  # made for one operation, by NodeWorld.through_seed
        return Store(host, folder / "etcd-ca.crt", folder / "etcd.crt", folder / "etcd.key")
    pki = Path(layout.PKI)
    return Store(host, pki / "etcd/ca.crt", pki / "apiserver-etcd-client.crt", pki / "apiserver-etcd-client.key")


def _there(store: Store, path: str) -> Kept:
    found = store.get(path)
    if found is None:
        raise KubeRejected(ApiProblem(status=404, reason="NotFound", message=f"{path} is not there"))
    return found


def _read(kept: Kept) -> Object:
    found: dict[str, Any] = json.loads(kept.value)
    found["metadata"]["resourceVersion"] = str(kept.revision)
    return found


def _judged(found: Object) -> Object:
    """A Node's condition, out of when it was last renewed."""
    if found.get("kind") == "Node":
        ready = time.time() - found.get("renewed", 0.0) < GRACE_SECONDS
        found["status"] = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}
    return found
