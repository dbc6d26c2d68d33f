"""The Store on SQLite: WAL, synchronous=FULL, one writer thread with group commit, readers on snapshots.

Units of work that wait when the writer becomes free share one transaction (at most 5 ms of gathering), each in
its own savepoint. While one group is being fsynced the next one gathers, so load makes groups larger by itself.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from agents.core.errors import GalleyError
from cloud_endpoint.store.port import Listener, Row, StoreBusy, StoreUnusable, Tx
from cloud_endpoint.store.schema import MIGRATIONS, statements

T = TypeVar("T")
GATHER_SECONDS = 0.005
GROUP_MAX = 256
CHECK_BELOW_BYTES = 256 * 1024 * 1024
"""Larger files are not read whole at the start; SQLite still reports corrupt pages when it meets them."""

_Job = tuple[Callable[[Tx], Any], "asyncio.Future[Any]"]


class _SqliteTx:
    def __init__(self, connection: sqlite3.Connection, now_ms: int) -> None:
        self._connection = connection
        self.now_ms = now_ms
        self.topics: set[str] = set()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql, parameters)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def notify(self, topic: str) -> None:
        self.topics.add(topic)


class SqliteStore:
    """See Store. Made by `open`."""

    def __init__(self, path: Path, wall_ms: Callable[[], int], loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._wall_ms = wall_ms
        self._loop = loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._listeners: list[Listener] = []
        self._writes = 0
        self._commits = 0
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._closed = False
        self._writer = threading.Thread(target=self._write_loop, name="store-write", daemon=True)

    @classmethod
    async def open(cls, path: Path, wall_ms: Callable[[], int]) -> SqliteStore:
        """Opens or makes the file (0600) and migrates it; raises StoreUnusable naming file and cause."""
        store = cls(path, wall_ms, asyncio.get_running_loop())
        await asyncio.to_thread(_prepare, path)
        store._writer.start()
        return store

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See Store.write."""
        if self._closed:
            raise StoreBusy("the store is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, future))
        return cast(T, await future)

    async def read(self, work: Callable[[Tx], T]) -> T:
        """See Store.read."""
        return await self._loop.run_in_executor(self._readers, self._read, work)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """See Store.listen."""
        self._listeners.append(listener)

        def stop() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    def stats(self) -> dict[str, int]:
        """See Store.stats."""
        return {"writes": self._writes, "commits": self._commits}

    async def aclose(self) -> None:
        """See Store.aclose."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._opened:
            connection.close()

    def _read(self, work: Callable[[Tx], T]) -> T:
        try:
            connection = self._reader()
            connection.execute("BEGIN")
            try:
                return work(_SqliteTx(connection, self._wall_ms()))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _fault(self._path, error) from error

    def _reader(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self._path)
            self._opened.append(connection)
            connection.execute("PRAGMA query_only=ON")
            self._local.connection = connection
        return connection

    def _write_loop(self) -> None:
        connection = _connect(self._path)
        connection.execute("PRAGMA synchronous=FULL")
        while (job := self._jobs.get()) is not None:
            if self._group(connection, job):
                break
        connection.close()

    def _group(self, connection: sqlite3.Connection, job: _Job) -> bool:
        """Runs one group; True when the store is to close after it."""
        done: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        topics: set[str] = set()
        closing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            deadline = time.monotonic() + GATHER_SECONDS
            while True:
                self._run_one(connection, job, done, topics)
                if len(done) >= GROUP_MAX or time.monotonic() >= deadline:
                    break
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    closing = True
                    break
                job = following
            connection.execute("COMMIT")
            self._writes += len(done)
            self._commits += 1
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = _fault(self._path, error)
            if not any(future is job[1] for future, _, _ in done):
                done.append((job[1], None, failure))
            done = [(future, None, raised or failure) for future, _, raised in done]
            topics = set()
        self._loop.call_soon_threadsafe(self._announce, done, frozenset(topics))
        return closing

    def _run_one(self, connection: sqlite3.Connection, job: _Job, done: list[Any], topics: set[str]) -> None:
        work, future = job
        tx = _SqliteTx(connection, self._wall_ms())
        connection.execute("SAVEPOINT unit")
        try:
            result = work(tx)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and isinstance(_fault(self._path, error), GalleyError):
                raise  # the store's fault, not the work's: the whole group fails
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            done.append((future, None, error))
        else:
            connection.execute("RELEASE unit")
            done.append((future, result, None))
            topics |= tx.topics

    def _announce(
        self, done: list[tuple[asyncio.Future[Any], Any, BaseException | None]], topics: frozenset[str]
    ) -> None:
        for future, result, error in done:
            if future.done():  # the one who asked was cancelled
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        if topics:
            for listener in list(self._listeners):
                listener(topics)


def _fault(path: Path, error: sqlite3.Error) -> Exception:
    """What a database error means to those above: try again, a damaged file, or (the error itself) a bug of ours."""
    if isinstance(error, sqlite3.OperationalError):
        return StoreBusy(f"{path}: {error}")
    if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT, SQLITE_NOTADB; its subclasses are about the statement
        return StoreUnusable(f"the store is corrupt: {error}; restore it from a backup", file=str(path))
    return error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _prepare(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = not path.exists()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if new:
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path)
        connection.execute("PRAGMA synchronous=FULL")
        if path.stat().st_size < CHECK_BELOW_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise StoreUnusable(f"the store is corrupt: {verdict}", file=str(path))
        _migrate(connection, path)
    except sqlite3.Error as error:
        raise _fault(path, error) from error
    finally:
        if connection is not None:
            connection.close()


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "galley_schema" not in tables:
        raise StoreUnusable("a database, but not one of Galley's endpoint", file=str(path))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE IF NOT EXISTS galley_schema (version BIGINT NOT NULL)")
    row = connection.execute("SELECT version FROM galley_schema").fetchone()
    version = row[0] if row else 0
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise StoreUnusable(f"schema version {version} is newer than this program's {len(MIGRATIONS)}", file=str(path))
    for migration in MIGRATIONS[version:]:
        for statement in statements(migration, "INTEGER PRIMARY KEY AUTOINCREMENT"):
            connection.execute(statement)
    connection.execute("DELETE FROM galley_schema")
    connection.execute("INSERT INTO galley_schema (version) VALUES (?)", (len(MIGRATIONS),))
    connection.execute("COMMIT")
