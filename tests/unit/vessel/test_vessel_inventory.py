"""Inventories become chunks and back; whatever write was the last before a kill, no entry is lost."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.errors import Rejected
from vessel.inventory import AppMeta, Entry, Inventory, app_digest, decode, encode, entry_of, from_data, to_data
from vessel.model import Ref


def inventory(count: int, generation: int = 1, first: int = 0) -> Inventory:
    made = Inventory(app="web", generation=generation, meta=AppMeta(owner="team", account="n/a", healthy="h"))
    for n in range(first, first + count):
        entry = Entry(
            api_version="v1", kind="ConfigMap", namespace="n", name=f"m{n}", digest=f"{n:016x}", fields=f"{n:016x}"
        )
        made.entries[entry.ref.key] = entry
    return made


def test_round_trip() -> None:
    before = inventory(50)
    chunks, packed = encode(before)
    assert (chunks, len(packed)) == (1, 1)
    after = decode("web", {n: from_data(to_data(data)) for n, data in packed.items()})
    assert (after.entries, after.meta, after.generation) == (before.entries, before.meta, 1)


def test_grows_by_doubling_and_stays_below_the_bound() -> None:
    before = inventory(1000)
    chunks, packed = encode(before, max_bytes=4000)
    assert chunks >= 4 and chunks & (chunks - 1) == 0
    assert all(len(data) <= 4000 for data in packed.values())
    assert decode("web", packed).entries == before.entries
    smaller = inventory(10)
    smaller.chunks = chunks
    assert encode(smaller, max_bytes=4000)[0] == chunks, "it never shrinks: a stale higher chunk would come back"


@settings(max_examples=25, deadline=None)
@given(old=st.integers(0, 120), new=st.integers(0, 120), bound=st.sampled_from([700, 2000, 100_000]), data=st.data())
def test_a_kill_between_two_chunk_writes_loses_nothing(old: int, new: int, bound: int, data: st.DataObject) -> None:
    """The store writes the union ahead, higher chunks first, and may die after any of them."""
    ahead = inventory(old + new, generation=2)
    before = inventory(old)
    before.chunks, on_disk = encode(before, max_bytes=bound)
    ahead.chunks = before.chunks
    _, packed = encode(ahead, max_bytes=bound)
    written = data.draw(st.integers(0, len(packed)))
    for n in sorted(packed, reverse=True)[:written]:
        on_disk[n] = packed[n]
    assert decode("web", on_disk).entries.keys() >= before.entries.keys()
    assert decode("web", packed).entries.keys() == ahead.entries.keys()


@pytest.mark.parametrize(
    "damage", [b"", b"junk", zlib.compress(b"{}"), zlib.compress(b"[1]"), zlib.compress(b"not json")]
)
def test_damage_is_refused_never_reset(damage: bytes) -> None:
    with pytest.raises(Rejected, match="app web, chunk 0"):
        decode("web", {0: damage})


def test_cut_short_and_newer() -> None:
    _, packed = encode(inventory(5))
    with pytest.raises(Rejected):
        decode("web", {0: packed[0][:-8]})
    newer = msgspec.json.decode(zlib.decompress(packed[0])) | {"v": 2}
    with pytest.raises(Rejected, match="newer Vessel"):
        decode("web", {0: zlib.compress(msgspec.json.encode(newer))})
    unknown = msgspec.json.decode(zlib.decompress(packed[0])) | {"later": 1}
    assert len(decode("web", {0: zlib.compress(msgspec.json.encode(unknown))}).entries) == 5


def test_a_bomb_is_refused() -> None:
    with pytest.raises(Rejected):
        decode("web", {0: zlib.compress(b" " * (65 * 1024 * 1024))})


def test_not_base64() -> None:
    assert from_data({"inventory": "!"}) == b""
    assert from_data({}) == b""


def test_written_ahead_entry_has_no_digest() -> None:
    entry = entry_of(Ref("apps/v1", "Deployment", "n", "web"))
    assert (entry.digest, entry.fields, entry.ref) == ("", "", Ref("apps/v1", "Deployment", "n", "web"))


def test_app_digest_ignores_order() -> None:
    assert app_digest(["a", "b"]) == app_digest(["b", "a"]) != app_digest(["a"])
