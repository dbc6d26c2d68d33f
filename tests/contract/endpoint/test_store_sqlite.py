"""What the SQLite store must do besides the contract: refuse files it cannot use, and survive kill -9."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from agents.contracts.identity import Election
from agents.contracts.ids import node_id
from agents.supervise.pulse import Pulse
from cloud_endpoint.page.hub import Hub
from cloud_endpoint.store import devices, schema, sites, sqlite
from cloud_endpoint.store.port import StoreBusy, StoreUnusable, Tx
from cloud_endpoint.store.schema import MIGRATIONS, statements
from cloud_endpoint.store.sqlite import SqliteStore
from tests.fakes.clock import VirtualClock


def clock() -> int:
    return 1_700_000_000_000


async def test_a_corrupt_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bad.db"
    path.write_bytes(b"this is no database, but it is somebody's file" * 100)
    with pytest.raises(StoreUnusable, match=r"bad\.db.*corrupt"):
        await SqliteStore.open(path, clock)
    assert path.read_bytes().startswith(b"this is no database")


async def test_a_damaged_page_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    store = await SqliteStore.open(path, clock)
    for number in range(2000):
        await store.write(lambda tx, n=number: sites.put(tx, f"site-{n}", {"label": "x" * 100}, None))  # type: ignore[misc]
    await store.aclose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        for offset in range(4096 * 3, size, 4096):
            file.seek(offset)
            file.write(os.urandom(2048))
    with pytest.raises(StoreUnusable, match=r"damaged\.db.*corrupt"):
        await SqliteStore.open(path, clock)


async def test_a_foreign_or_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreUnusable, match="not one of Galley's"):
        await SqliteStore.open(path, clock)
    newer = tmp_path / "newer.db"
    await (await SqliteStore.open(newer, clock)).aclose()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE galley_schema SET version = 99")
    with pytest.raises(StoreUnusable, match="version 99 is newer"):
        await SqliteStore.open(newer, clock)


async def test_sites_of_a_store_from_before_epochs_are_in_their_first(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        for migration in MIGRATIONS[:3]:
            for statement in statements(migration, "INTEGER PRIMARY KEY AUTOINCREMENT"):
                connection.execute(statement)
        connection.execute("CREATE TABLE galley_schema (version BIGINT NOT NULL)")
        connection.execute("INSERT INTO galley_schema (version) VALUES (3)")
        connection.execute("INSERT INTO sites (site, labels, generation, created_ms) VALUES ('a', '{}', 7, 1)")
    connection.close()
    store = await SqliteStore.open(path, clock)
    found = await store.read(lambda tx: sites.get(tx, "a"))
    assert found is not None
    assert (found.epoch, found.election, found.epoch_authorisation, found.generation) == (1, Election.CLOUD, "", 7)
    await store.aclose()


async def test_a_store_from_before_the_proof_by_tpm_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device and a line of the shipping list in it, written as the version before did."""
    path = tmp_path / "s.db"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", schema.MIGRATIONS[:3])
        old = await SqliteStore.open(path, clock)
        await old.write(
            lambda tx: tx.execute("INSERT INTO sites (site, labels, generation, created_ms) VALUES ('a', '{}', 7, 1)")
        )
        await old.write(
            lambda tx: tx.execute(
                "INSERT INTO shipping (hardware_id, node, site, name, address, proof, created_ms)"
                " VALUES ('hw', ?, 'a', 'n', '', 'approval', 1)",
                (node_id("hw"),),
            )
        )
        await old.write(
            lambda tx: tx.execute(
                "INSERT INTO devices VALUES (?, 'hw', 'a', 'n', '', 'enrolled', '{}', 's', '{}', 't', '', '', 1)",
                (node_id("hw"),),
            )
        )
        await old.aclose()
    store = await SqliteStore.open(path, clock)
    line = await store.read(lambda tx: sites.shipped(tx, node_id("hw")))
    device = await store.read(lambda tx: devices.get(tx, node_id("hw")))
    assert line is not None and (line.proof, line.ek_hash) == ("approval", "")
    assert device is not None and (device.status, device.ek_hash) == ("enrolled", "")
    await store.aclose()


async def test_the_file_is_private(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deep" / "s.db", clock)
    await store.write(lambda tx: sites.put(tx, "a", {}, None))
    for file in (tmp_path / "deep").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    await store.aclose()


_KILLED = """
import asyncio, os, signal, sys, time
from pathlib import Path
from cloud_endpoint.store import sites
from cloud_endpoint.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), lambda: time.time_ns() // 1_000_000)
    async def one(n):
        await store.write(lambda tx: sites.put(tx, f"s{n}", {}, None))
        os.write(1, f"{n}\\n".encode())
    n = int(sys.argv[2])
    while True:
        await asyncio.gather(*(one(n + i) for i in range(20)))
        n += 20

asyncio.run(main())
"""


async def test_killed_at_any_moment_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    acknowledged: set[str] = set()
    for attempt in range(5):
        command = [sys.executable, "-c", _KILLED, str(path), str(attempt * 100_000)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        await asyncio.sleep(0.01 + 0.03 * attempt)
        process.kill()
        lines += process.stdout.readlines()
        process.wait(10)
        process.stdout.close()
        acknowledged |= {f"s{line.decode().strip()}" for line in lines if line.endswith(b"\n")}
        store = await SqliteStore.open(path, clock)
        stored = {one.site for one in await store.read(lambda tx: sites.every(tx, limit=10**6))}
        await store.aclose()
        assert acknowledged <= stored
    assert len(acknowledged) > 100


async def test_pages_damaged_while_it_runs_are_an_error_of_the_store_and_the_page_waits(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    store = await SqliteStore.open(path, clock)
    for number in range(300):
        await store.write(lambda tx, n=number: sites.put(tx, f"site-{n}", {"label": "x" * 200}, None))  # type: ignore[misc]
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    good = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(good) - 4096))
    with pytest.raises(StoreUnusable, match=r"damaged\.db.*corrupt"):
        await store.read(lambda tx: tx.execute("SELECT * FROM sites"))
    with pytest.raises(StoreUnusable, match=r"damaged\.db.*corrupt"):
        await store.write(lambda tx: tx.execute("UPDATE sites SET labels = ''"))

    time, stopping = VirtualClock(), asyncio.Event()
    hub = Hub(store, time, structlog.get_logger(), interval=2.0, frame_seconds=0.01)
    task = asyncio.create_task(hub.run(Pulse("page", time, stopping)))
    await asyncio.sleep(0.2)
    assert not task.done() and not hub.ready.is_set()  # it says so and looks again
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.aclose()


async def test_a_locked_file_is_a_busy_store(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db", clock)

    def locked(tx: Tx) -> None:
        raise sqlite3.OperationalError("database is locked")

    for ask in (store.read, store.write):
        with pytest.raises(StoreBusy, match="locked"):
            await ask(locked)
    with pytest.raises(sqlite3.IntegrityError):  # our own mistake stays what it is
        await store.write(lambda tx: tx.execute("INSERT INTO sites (site) VALUES (NULL)"))
    await store.aclose()
