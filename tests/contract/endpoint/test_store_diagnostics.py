"""Diagnostics bundles in every Store: opened for a command alone, taken piece by piece, whole or forgotten, bounded."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.diagnostics import BundleOpen
from agents.core.command_verify import sign_command
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from cloud_endpoint.settings import Diagnostics
from cloud_endpoint.store import audit, retention
from cloud_endpoint.store import commands as queue
from cloud_endpoint.store import diagnostics as bundles
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import NOW, Clock, Opener, enrolled

SITE = "store-1"
KEY = SoftwareKey.generate()
LIMITS = Diagnostics()
DATA = bytes(range(256)) * 10


async def asked(store: Store, node: str, verb: Verb = Verb.COLLECT_DIAGNOSTICS) -> str:
    """A command to the node in the store; its id."""
    number = await store.read(lambda tx: queue.highest(tx, node)) + 1
    command = Command(
        id=secrets.token_hex(16), verb=verb, site=SITE, node=node, sequence=number, challenge="c", issued=NOW // 1000,
        expires=NOW // 1000 + 600,
    )  # fmt: skip
    signed: SignedCommand = sign_command(command, [KEY])
    await store.write(lambda tx: queue.add(tx, command, signed, "op:alice"))
    return command.id


def opening(command: str, data: bytes = DATA) -> BundleOpen:
    return BundleOpen(command_id=command, size=len(data), sha256=hashlib.sha256(data).hexdigest())


async def open_(store: Store, node: str, what: BundleOpen, limits: Diagnostics = LIMITS):  # type: ignore[no-untyped-def]
    return await store.write(lambda tx: bundles.open_(tx, node, SITE, what, limits))


async def put(store: Store, node: str, number: int, offset: int, piece: bytes):  # type: ignore[no-untyped-def]
    return await store.write(lambda tx: bundles.append(tx, node, SITE, number, offset=offset, piece=piece))


async def sent(store: Store, node: str, data: bytes = DATA, limits: Diagnostics = LIMITS) -> int:
    state = await open_(store, node, opening(await asked(store, node), data), limits)
    assert (await put(store, node, state.id, 0, data)).whole
    return int(state.id)


async def test_a_bundle_comes_in_pieces_over_a_restart_and_is_whole_once(store: Store, reopen: Opener) -> None:
    node = await enrolled(store)
    what = opening(await asked(store, node))
    state = await open_(store, node, what)
    assert (state.offset, state.whole, state.size) == (0, False, len(DATA))
    assert (await put(store, node, state.id, 0, DATA[:1000])).offset == 1000
    other = await reopen()  # another replica, or the same one after a restart
    try:
        assert (await open_(other, node, what)) == await other.read(lambda tx: bundles.state(tx, node, SITE, state.id))
        # The answer was lost: the same piece, an old one and one that is too far ahead change nothing.
        for offset, piece in ((0, DATA[:1000]), (0, b"other"), (2000, DATA[2000:])):
            assert (await put(other, node, state.id, offset, piece)).offset == 1000
        assert await other.read(lambda tx: bundles.whole(tx, node, state.id)) is None
        last = await put(other, node, state.id, 1000, DATA[1000:])
        assert last.whole and last.offset == len(DATA)
        assert await other.read(lambda tx: b"".join(bundles.pieces(tx, state.id))) == DATA
        again = await open_(other, node, what)
        assert again.whole and again.id == state.id
        listed = await other.read(lambda tx: bundles.of_node(tx, node))
        assert [(one.received, one.whole_ms) for one in listed] == [(len(DATA), NOW)]
    finally:
        await other.aclose()


async def test_what_is_not_what_was_said_is_forgotten_and_audited(store: Store) -> None:
    node = await enrolled(store)
    state = await open_(store, node, opening(await asked(store, node)))
    broken = DATA[:-1] + b"X"
    said = await put(store, node, state.id, 0, broken)
    assert (said.offset, said.whole) == (0, False)
    assert await store.read(lambda tx: list(bundles.pieces(tx, state.id))) == []
    assert (await put(store, node, state.id, 0, DATA)).whole
    lines = await store.read(lambda tx: [one for one in audit.recent(tx) if one.action == "diagnostics"])
    assert [one.outcome for one in lines] == ["done", "refused"]
    with pytest.raises(Rejected, match="past the end"):
        other = await open_(store, node, opening(await asked(store, node)))
        await put(store, node, other.id, 0, DATA + b"more")


@pytest.mark.parametrize("verb", [Verb.SYNC, None])
async def test_only_a_command_to_this_node_opens_one(store: Store, verb: Verb | None) -> None:
    node = await enrolled(store)
    other = await enrolled(store, "hw2", name="n2")
    command = await asked(store, node, verb) if verb else "f" * 32
    with pytest.raises(Rejected, match="no bundle was asked"):
        await open_(store, node, opening(command))
    mine = await asked(store, node)
    with pytest.raises(Rejected, match="no bundle was asked"):
        await open_(store, other, opening(mine))
    state = await open_(store, node, opening(mine))
    for site, who in ((SITE, other), ("store-2", node)):
        with pytest.raises(Rejected, match="no such bundle"):
            await store.write(
                lambda tx, site=site, who=who: bundles.append(tx, who, site, state.id, offset=0, piece=DATA)  # type: ignore[misc]
            )
    assert await store.read(lambda tx: bundles.of_node(tx, other)) == []


async def test_another_size_or_digest_begins_anew(store: Store) -> None:
    node = await enrolled(store)
    command = await asked(store, node)
    first = await open_(store, node, opening(command))
    await put(store, node, first.id, 0, DATA[:500])
    second = await open_(store, node, opening(command, DATA + b"x"))
    assert second.offset == 0 and second.id != first.id
    assert await store.read(lambda tx: list(bundles.pieces(tx, first.id))) == []
    with pytest.raises(Rejected, match="larger than"):
        await open_(
            store, node, BundleOpen(command_id=command, size=64 * 1024 + 1, sha256="a" * 64),
            Diagnostics(bundle_bytes=64 * 1024),
        )  # fmt: skip


async def test_the_oldest_go_by_count_by_bytes_and_by_age(store: Store, clock: Clock) -> None:
    node, other = await enrolled(store), await enrolled(store, "hw2", name="n2")
    numbers = [await sent(store, node, DATA + bytes([n]), Diagnostics(node_bundles=2)) for n in range(4)]
    assert [one.id for one in await store.read(lambda tx: bundles.of_node(tx, node))] == [numbers[3], numbers[2]]
    # In all: 64 MiB is the least that can be set; announced sizes count.
    big = BundleOpen(command_id=await asked(store, other), size=64 * 1024 * 1024 - len(DATA), sha256="a" * 64)
    await open_(store, other, big, Diagnostics(total_bytes=64 * 1024 * 1024))
    assert [one.id for one in await store.read(lambda tx: bundles.of_node(tx, node))] == []
    assert len(await store.read(lambda tx: bundles.of_node(tx, other))) == 1
    clock.ms += 2
    keep = retention.Keep(beats=10**12, history=10**12, audit=10**12, diagnostics=1)
    await store.write(lambda tx: retention.prune(tx, keep))
    assert await store.read(lambda tx: bundles.of_node(tx, other)) == []
    left = await store.read(lambda tx: tx.execute("SELECT COUNT(*) AS n FROM diagnostics_pieces"))
    assert left[0]["n"] == 0
