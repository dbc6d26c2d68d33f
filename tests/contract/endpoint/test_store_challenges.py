"""Challenges to TPMs in the store, for each implementation: one answer, in time, by the keys that asked; and few."""

from __future__ import annotations

from cloud_endpoint.store import challenges, retention
from cloud_endpoint.store.port import Store
from tests.fakes.store_kit import Clock


async def test_a_challenge_is_for_one_answer_by_its_keys_in_its_time(store: Store, clock: Clock) -> None:
    kids, node, ek = ("sign", "seal"), "n-abcdefghij234567", "e" * 64

    async def add(kids: tuple[str, str] = kids, secret: bytes = b"right") -> None:
        await store.write(lambda tx: challenges.add(tx, node, kids, ek, secret))

    async def spend(answer: bytes, kids: tuple[str, str] = kids, node: str = node, ek: str = ek) -> bool | None:
        return await store.write(lambda tx: challenges.spend(tx, node, kids, ek, answer))

    assert await spend(b"right") is None  # there is none
    await add()
    assert [await spend(b"right"), await spend(b"right")] == [True, None]
    await add()
    assert [await spend(b"wrong"), await spend(b"right")] == [False, None]
    for other in ({"kids": ("sign", "else")}, {"ek": "f" * 64}):
        await add()
        assert await spend(b"right", **other) is None  # type: ignore[arg-type]
    await add()
    for other in ({"kids": ("else", "seal")}, {"node": "n-bbbbbbbbbb234567"}):
        assert await spend(b"right", **other) is None  # type: ignore[arg-type]
    assert await spend(b"right") is True
    await add(secret=b"old")
    await add(secret=b"new")
    assert await spend(b"old") is False
    await add()
    clock.ms += challenges.LIFE_MS - 1
    assert await spend(b"right") is True
    await add()
    clock.ms += challenges.LIFE_MS
    assert await spend(b"right") is None


async def test_challenges_are_few_for_a_node_and_the_oldest_go_first(store: Store, clock: Clock) -> None:
    node, ek, most = "n-abcdefghij234567", "e" * 64, challenges.MAX_PER_NODE
    for number in range(most + 3):
        clock.ms += 1
        await store.write(lambda tx, n=number: challenges.add(tx, node, (f"{n}", "s"), ek, b"x"))  # type: ignore[misc]
    rows = await store.read(lambda tx: tx.execute("SELECT signing_kid FROM ek_challenges ORDER BY made_ms"))
    assert [row["signing_kid"] for row in rows] == [str(n) for n in range(3, most + 3)]
    clock.ms += challenges.LIFE_MS + 1
    await store.write(lambda tx: retention.prune(tx, retention.Keep(beats=1, history=1, audit=1)))
    assert await store.read(lambda tx: tx.execute("SELECT * FROM ek_challenges")) == []
