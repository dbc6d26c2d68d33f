"""Touches the cluster: Vessel's own Secrets `vessel-inventory-<app>-<n>`, and the one that says where it stands.

Written by Vessel's own account, with the resourceVersion as precondition: a writer that was overtaken by another
gets a conflict and writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from agents.io.kube import Kube, KubeRejected, Resource
from vessel.inventory import MAX_CHUNK_BYTES, Inventory, decode, encode, from_data, to_data

LABEL = "vessel.galley/inventory"
STANDING = "vessel-inventory-state"
SECRETS = Resource("v1", "Secret", "secrets", True)


class Overtaken(Retryable):
    """Somebody else wrote the inventory: all decisions of this pass are void."""


class AppStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one app stood at the end of the last pass: for `vessel status`."""

    owner: str = ""
    phase: str = ""
    revision: str = ""
    total: int = 0
    problems: list[str] = []


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where Vessel stands, for its next holder and for `vessel status`. `applied`: the revision that the cluster is
    at; `healthy`: the last one that became healthy; `quarantined`: the one that was rolled back, and why."""

    v: int = 1
    applied: str = ""
    healthy: str = ""
    quarantined: str = ""
    reason: str = ""
    apps: dict[str, AppStanding] = {}


class InventoryStore:
    """All inventories. `fence` is called before each write and raises when this process may not write."""

    def __init__(
        self, kube: Kube, namespace: str, fence: Callable[[], float], *, max_bytes: int = MAX_CHUNK_BYTES
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._fence = fence
        self._max_bytes = max_bytes
        self._versions: dict[str, str] = {}
        self._written: dict[str, bytes] = {}
        self.inventories: dict[str, Inventory] = {}
        self.standing = Standing()

    async def load(self) -> None:
        """Reads everything anew. Raises Rejected when an inventory is corrupt: nothing may be pruned by half a one."""
        listed = await self._kube.list(SECRETS, self._namespace, selector=LABEL)
        self._versions.clear()
        self._written.clear()
        chunks: dict[str, dict[int, bytes]] = {}
        self.standing = Standing()
        for secret in listed.items:
            meta = secret["metadata"]
            name, packed = meta["name"], from_data(secret.get("data") or {})
            self._versions[name] = meta["resourceVersion"]
            if name == STANDING:
                self.standing = _standing(packed)
                continue
            app = meta["labels"][LABEL]
            number = name.removeprefix(f"vessel-inventory-{app}-")
            if number.isdigit():
                chunks.setdefault(app, {})[int(number)] = packed
                self._written[name] = packed
        self.inventories = {app: decode(app, parts) for app, parts in chunks.items()}

    async def read_standing(self) -> Standing:
        """Where the writer stands, for a node that is not the writer: what is loaded here stays as it is."""
        listed = await self._kube.list(SECRETS, self._namespace, selector=f"{LABEL}=")
        found = [one for one in listed.items if one["metadata"]["name"] == STANDING]
        return _standing(from_data(found[0].get("data") or {})) if found else Standing()

    async def save(self, app: str) -> bool:
        """Writes what changed of one app's inventory, higher chunks first. False when nothing had to be written."""
        inventory = self.inventories[app]
        if not inventory.entries and inventory.meta == type(inventory.meta)():
            return await self._remove(app)
        if not self._changed(inventory):
            return False
        inventory.generation += 1
        inventory.chunks, chunks = encode(inventory, max_bytes=self._max_bytes)
        for number in sorted(chunks, reverse=True):
            await self._write(_name(app, number), app, chunks[number])
            self._written[_name(app, number)] = chunks[number]
        return True

    def _changed(self, inventory: Inventory) -> bool:
        _, chunks = encode(inventory, max_bytes=self._max_bytes)
        return any(self._written.get(_name(inventory.app, n)) != packed for n, packed in chunks.items())

    async def save_all(self) -> int:
        """Writes every app's changes at once; the number of apps written."""
        done = await asyncio.gather(*(self.save(app) for app in list(self.inventories)))
        return sum(done)

    async def save_standing(self, standing: Standing) -> None:
        """Writes where Vessel stands, if that is news."""
        if standing == self.standing and STANDING in self._versions:
            return
        await self._write(STANDING, "", msgspec.json.encode(standing))
        self.standing = standing

    async def _remove(self, app: str) -> bool:
        names = [name for name in self._written if name.startswith(f"vessel-inventory-{app}-") and _owner(name) == app]
        for name in sorted(names, key=lambda n: int(n.rpartition("-")[2]), reverse=True):
            left = self._fence()
            await self._kube.delete(SECRETS, self._namespace, name, timeout=min(10.0, left), gate=self._fence)
            self._versions.pop(name, None)
            self._written.pop(name, None)
        del self.inventories[app]
        return bool(names)

    async def _write(self, name: str, app: str, packed: bytes) -> None:
        left = self._fence()
        version = self._versions.get(name)
        secret: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "vessel.galley/inventory",
            "metadata": {"name": name, "namespace": self._namespace, "labels": {LABEL: app}},
            "data": to_data(packed),
        }
        method, path = "POST", SECRETS.path(self._namespace)
        if version is not None:
            secret["metadata"]["resourceVersion"] = version
            method, path = "PUT", SECRETS.path(self._namespace, name)
        try:
            answer = await self._kube.request(method, path, body=secret, timeout=min(10.0, left), gate=self._fence)
        except KubeRejected as error:
            if error.status in (404, 409) and "being terminated" not in str(error) and "namespaces" not in str(error):
                raise Overtaken(f"inventory {name} was written by somebody else") from None
            raise
        self._versions[name] = answer["metadata"]["resourceVersion"]


def _name(app: str, number: int) -> str:
    return f"vessel-inventory-{app}-{number}"


def _owner(name: str) -> str:
    return name.removeprefix("vessel-inventory-").rpartition("-")[0]


def _standing(packed: bytes) -> Standing:
    try:
        return msgspec.json.decode(packed, type=Standing)
    except msgspec.MsgspecError as error:
        raise Rejected(f"{STANDING}: {type(error).__name__}") from None
