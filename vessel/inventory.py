"""What Vessel put into the cluster, app by app: entries, and how they become Secrets' data and back. Pure.

One app's inventory is a set of chunks, each below the size a Secret may have. An entry's chunk follows from its key,
and chunks only ever double, higher ones written first: so the union of whatever chunks are there holds every entry
at each moment, whichever write was the last before a kill.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from agents.core.errors import Rejected
from vessel.model import Ref

SCHEMA = 1
MAX_CHUNK_BYTES = 700 * 1024
"""A Secret's data may have 1 MiB, base64 takes a third more in the request."""
_MAX_PLAIN = 64 * 1024 * 1024
Key = tuple[str, str, str, str]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object. `digest`: of the manifest last applied, empty when written ahead; `fields`: of the live fields that
    were ours after that; `uid`: of the object then; `finished`: a Job that completed, and may be gone by its TTL."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str
    digest: str = ""
    fields: str = ""
    uid: str = ""
    finished: bool = False

    @property
    def ref(self) -> Ref:
        """The object's name."""
        return Ref(self.api_version, self.kind, self.namespace, self.name)


class AppMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of the app as a whole. `healthy`: digest of the manifests with which it was last seen healthy; `account`: as
    whom its objects are read and deleted; `held_*`: see prune.Held."""

    owner: str = ""
    account: str = ""
    healthy: str = ""
    held_revision: str = ""
    held_digest: str = ""


class Inventory(msgspec.Struct, kw_only=True):
    """One app's inventory in memory."""

    app: str
    entries: dict[Key, Entry] = {}
    meta: AppMeta = AppMeta()
    chunks: int = 1
    generation: int = 0


class _Chunk(msgspec.Struct, kw_only=True):
    v: Annotated[int, msgspec.Meta(ge=1)]
    app: str
    generation: int
    chunks: int
    meta: AppMeta = AppMeta()
    entries: list[Entry]


def entry_of(ref: Ref) -> Entry:
    """An entry written ahead of its object."""
    return Entry(api_version=ref.api_version, kind=ref.kind, namespace=ref.namespace, name=ref.name)


def encode(inventory: Inventory, *, max_bytes: int = MAX_CHUNK_BYTES) -> tuple[int, dict[int, bytes]]:
    """(number of chunks, compressed chunk by number). The number never falls while there are entries."""
    chunks = max(1, inventory.chunks)
    while True:
        parts: list[list[Entry]] = [[] for _ in range(chunks)]
        for key, entry in sorted(inventory.entries.items()):
            parts[_place(key, chunks)].append(entry)
        encoded = {n: _pack(inventory, n, chunks, part) for n, part in enumerate(parts)}
        if chunks >= 1024 or all(len(data) <= max_bytes for data in encoded.values()):
            return chunks, encoded
        chunks *= 2


def decode(app: str, chunks: Mapping[int, bytes]) -> Inventory:
    """The union of an app's chunks. Raises Rejected when one cannot be read: never silently reset."""
    read = {n: _unpack(app, n, data) for n, data in chunks.items()}
    result = Inventory(app=app)
    for n, chunk in sorted(read.items(), key=lambda pair: (pair[1].chunks, pair[1].generation, -pair[0])):
        for entry in chunk.entries:
            result.entries[entry.ref.key] = entry
        result.chunks = max(result.chunks, chunk.chunks)
        result.generation = max(result.generation, chunk.generation)
        if n == 0:
            result.meta = chunk.meta
    return result


def app_digest(digests: Iterable[str]) -> str:
    """One digest for a set of manifests."""
    from vessel.fields import digest

    return digest(sorted(digests))


def _place(key: Key, chunks: int) -> int:
    return zlib.crc32("\0".join(key).encode()) % chunks


def _pack(inventory: Inventory, n: int, chunks: int, entries: list[Entry]) -> bytes:
    chunk = _Chunk(
        v=SCHEMA,
        app=inventory.app,
        generation=inventory.generation,
        chunks=chunks,
        meta=inventory.meta if n == 0 else AppMeta(),
        entries=entries,
    )
    return zlib.compress(msgspec.json.encode(chunk), 6)


def _unpack(app: str, n: int, data: bytes) -> _Chunk:
    try:
        engine = zlib.decompressobj()
        plain = engine.decompress(data, _MAX_PLAIN)
        if not engine.eof:
            raise Rejected(f"inventory of app {app}, chunk {n}: cut short or too large")
        chunk = msgspec.json.decode(plain, type=_Chunk)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Rejected(f"inventory of app {app}, chunk {n}: {type(error).__name__}") from None
    if chunk.v > SCHEMA:
        raise Rejected(f"inventory of app {app}, chunk {n}: written by a newer Vessel (schema {chunk.v})")
    return chunk


def to_data(packed: bytes) -> dict[str, Any]:
    """A Secret's `data`."""
    return {"inventory": base64.b64encode(packed).decode()}


def from_data(data: Mapping[str, Any]) -> bytes:
    """The packed chunk of a Secret's `data`; empty when it has none."""
    try:
        return base64.b64decode(data.get("inventory", ""), validate=True)
    except ValueError:
        return b""
