"""The outbox: one stream's durable queue in one SQLite file (WAL, one writer thread, group commit).

Touches `<path>`, its WAL, and `<path>.lock`. A sequence number is given in the transaction that stores its message.
What is evicted is recorded as dropped in the same transaction, and declared until the cloud settled it. A corrupt
file is set aside as `<path>.corrupt-<n>` and reported by an alert in the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import msgspec

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import MAX_BODY_BYTES, IngestAnswer, IngestRequest
from agents.contracts.messages import KINDS, Alert, Body, Severity, kind_of
from agents.core.errors import Rejected, Retryable
from agents.core.fit import fit
from agents.core.ports import Clock
from agents.io.lock import Lock
from agents.io.outbox.policy import Bounds
from agents.io.outbox.store import Corrupt, Store, create, is_transient
from agents.io.outbox.writer import Writer
from agents.io.state import quarantine, sync_directory

__all__ = ["SqliteOutbox", "count"]

MAX_ROWS = 50_000
MAX_BYTES = 32 * 1024 * 1024


class SqliteOutbox:
    """Outbox port. Made by `open`; to be closed with `aclose`."""

    def __init__(self, path: Path, stream: Stream, boot_id: str, clock: Clock, bounds: Bounds) -> None:
        self._path = path
        self.stream = stream
        self._boot_id = boot_id
        self._clock = clock
        self._bounds = bounds
        self._queued = asyncio.Event()
        self._lock = Lock(path.with_name(path.name + ".lock"))
        self._writer: Writer
        self._cause = "found at the start"
        self.quarantined: list[Path] = []

    @classmethod
    async def open(
        cls,
        path: Path,
        stream: Stream,
        boot_id: str,
        clock: Clock,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> SqliteOutbox:
        """Opens or creates the file. A boot id other than the last starts a new run; the old one's messages stay.

        Raises Retryable (no space, in use by another process) and Rejected (another stream's file, a newer schema).
        """
        outbox = cls(path, stream, boot_id, clock, Bounds(rows=max_rows, bytes=max_bytes))
        await asyncio.to_thread(outbox._start)
        if await outbox.pending() or outbox._writer.store.ranges:
            outbox._queued.set()
        return outbox

    def _start(self) -> None:
        self._take_lock()
        try:
            self._writer = Writer(self._open_store(), self._replace)
        except sqlite3.Error as error:
            self._lock.release()
            raise Retryable(f"outbox {self._path}: {error}") from None
        except OSError as error:
            self._lock.release()
            raise Retryable(f"outbox {self._path}: {error.strerror}") from None
        except BaseException:
            self._lock.release()
            raise

    def _take_lock(self) -> None:
        try:
            if not self._lock.take():
                raise Retryable(f"outbox {self._path}: in use by another process")
        except OSError as error:
            raise Retryable(f"outbox {self._lock.path}: {error.strerror}") from None

    def _open_store(self) -> Store:
        store = self._sound_store()
        self._report(store)
        return store

    def _sound_store(self) -> Store:
        try:
            if self._path.stat().st_size == 0:
                raise Corrupt("is empty")
            return Store(self._path, self.stream, self._boot_id, self._bounds)
        except FileNotFoundError:
            if not self._path.with_name(self._path.name + "-wal").exists():
                return self._new_store()
            self._path.touch(0o600)
            return self._set_aside("the file is gone, but not its log")
        except Corrupt as error:
            return self._set_aside(str(error))
        except sqlite3.Error as error:
            if is_transient(error):
                raise
            return self._set_aside(str(error))

    def _new_store(self) -> Store:
        create(self._path, self.stream)
        store = Store(self._path, self.stream, self._boot_id, self._bounds)
        sync_directory(self._path.parent)
        return store

    def _set_aside(self, cause: str) -> Store:
        self._cause = cause[:200]
        target = quarantine(self._path)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(target.with_name(target.name + suffix))
        self.quarantined.append(target)
        return self._new_store()

    def _report(self, store: Store) -> None:
        """An alert for each file set aside that this outbox has not yet told of: also after a crash in between."""
        found = {file.name for file in self._path.parent.glob(f"{self._path.name}.corrupt-*")}
        names = sorted(name for name in found if not name.endswith(("-wal", "-shm")))
        if not any(not store.told(name) for name in names):
            return
        store.begin(durable=True)
        for name in names:
            if not store.told(name):
                text = f"the outbox was corrupt ({self._cause}) and is kept as {name}; what it held was not sent"
                alert = Alert(code="outbox-corrupt", severity=Severity.WARNING, text=text)
                store.put("alert", self._clock.wall_ms(), encode(alert))
                store.tell(name)
        store.commit()

    def _replace(self, store: Store, cause: str) -> Store:
        with contextlib.suppress(sqlite3.Error):
            store.close()
        fresh = self._set_aside(cause)
        self._report(fresh)
        return fresh

    @property
    def run(self) -> str:
        """The current run."""
        return self._writer.store.run

    @property
    def commits(self) -> int:
        """Transactions committed since the start."""
        return self._writer.commits

    async def put(self, body: Body, *, durable: bool = False) -> int:
        """Stores a message and returns its sequence number. With `durable` it survives a power cut on return.

        Texts and lists too long for the contract are cut. Raises Rejected for a kind that does not belong on the
        stream or a body out of contract (both are bugs), Retryable when the disk is full: what was stored before
        stays, and later puts work again once there is space.
        """
        kind = kind_of(body)
        if kind not in KINDS[self.stream]:
            raise Rejected(f"kind {kind!r} does not belong on stream {self.stream.value!r}")
        data = _encode(body)
        t = self._clock.wall_ms()
        seq = await self._writer.submit(lambda store: store.put(kind, t, data), durable=durable)
        self._queued.set()
        return seq

    async def batch(self, max_messages: int, max_bytes: int) -> IngestRequest | None:
        """The next batch: urgent ones by value, then the newest; None when nothing is queued or to be declared."""
        self._queued.clear()
        request = await self._writer.submit(lambda store: store.batch(max_messages, max_bytes))
        if request is None:
            return None
        self._queued.set()
        return msgspec.structs.replace(request, sent=self._clock.wall_ms())

    async def settle(self, request: IngestRequest, answer: IngestAnswer) -> int:
        """Removes what the answer settles of the request; returns how many messages are still queued."""
        return await self._writer.submit(lambda store: store.settle(request, answer))

    async def refuse(self, request: IngestRequest, problem: str) -> None:
        """Sets the request's messages aside that the cloud will not take, with an alert for each."""
        t = self._clock.wall_ms()

        def work(store: Store) -> None:
            for envelope in request.messages:
                if store.refuse(request.run, envelope.seq, problem):
                    text = f"message {envelope.seq} of run {request.run} was refused and set aside: {problem}"[:1000]
                    alert = Alert(code="message-refused", severity=Severity.WARNING, text=text)
                    store.put("alert", t, encode(alert))

        await self._writer.submit(work, durable=True)
        self._queued.set()

    async def wait(self) -> None:
        """Returns when something is queued."""
        await self._queued.wait()

    async def pending(self) -> int:
        """How many messages are queued."""
        return await self._writer.submit(lambda store: store.rows)

    async def aclose(self) -> None:
        """Commits what waits and closes the file."""
        await asyncio.to_thread(self._writer.close)
        self._lock.release()


def _encode(body: Body) -> bytes:
    """The body as JSON that its contract accepts, cut to size where it must be. Raises Rejected."""
    data = encode(body)
    try:
        if len(data) <= MAX_BODY_BYTES:
            decode(data, type(body))
            return data
    except ContractError:
        pass
    try:
        data = encode(fit(body, MAX_BODY_BYTES))
    except msgspec.ValidationError as error:
        raise Rejected(f"the {kind_of(body)} is out of contract: {error}") from None
    if len(data) > MAX_BODY_BYTES:
        raise Rejected(f"the {kind_of(body)} is {len(data)} bytes, more than {MAX_BODY_BYTES}")
    return data


def count(path: Path) -> int:
    """How many messages another daemon's outbox holds, read without disturbing it. Raises Retryable."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM messages").fetchone()
            return int(rows)
    except sqlite3.Error as error:
        raise Retryable(f"outbox {path}: {error}") from None
