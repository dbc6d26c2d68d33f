"""The outbox file: its schema and the statements on it, all within the caller's transaction; touches SQLite alone.

Tables: `runs` (each run with its next sequence number), `messages` (queued), `dropped` (ranges given up, until the
cloud settled them), `refused` (messages that the cloud would not take, kept for people, bounded).
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestAnswer, IngestRequest
from agents.core.errors import Rejected
from agents.io.outbox import policy

SCHEMA = 1
APPLICATION = 0x47414C59  # "GALY"
MAX_REFUSED = 200
MAX_RANGES = 1000
ENVELOPE = 64
"""Bytes counted for an envelope around a body."""

_DDL = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, boot TEXT NOT NULL, next INTEGER NOT NULL
);
CREATE TABLE messages (
    run INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL, t INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX by_rank ON messages (rank, run, seq);
CREATE TABLE dropped (
    run INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (run, a)
) WITHOUT ROWID;
CREATE TABLE refused (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL, t INTEGER NOT NULL, body BLOB NOT NULL,
    problem TEXT NOT NULL
);
"""


_FIRST = (
    "SELECT run FROM messages WHERE rank>=:urgent ORDER BY rank DESC, run DESC LIMIT 1",
    "SELECT run FROM messages ORDER BY run DESC LIMIT 1",
    "SELECT run FROM dropped ORDER BY run DESC LIMIT 1",
)
"""Which run is sent first."""
_ORDER = (
    "SELECT seq, t, body FROM messages WHERE run=:run AND rank>=:urgent ORDER BY rank DESC, seq LIMIT :limit",
    "SELECT seq, t, body FROM messages WHERE run=:run AND +rank<:urgent ORDER BY seq DESC LIMIT :limit",
)
"""Which of its messages: `+rank` keeps the second one on the primary key."""


class Corrupt(Exception):
    """The file is no sound outbox."""


def create(path: Path, stream: Stream) -> None:
    """Makes an empty outbox under a temporary name, which then takes its place. Raises sqlite3.Error, OSError."""
    temporary = path.with_name(f".{path.name}.new")
    for name in (temporary, temporary.with_name(temporary.name + "-journal")):
        name.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        temporary.chmod(0o600)
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(
            f"PRAGMA application_id={APPLICATION}; BEGIN; {_DDL} PRAGMA user_version={SCHEMA}; COMMIT;"
        )
        connection.execute("INSERT INTO meta VALUES ('stream', ?)", (stream.value,))
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    temporary.replace(path)


class Store:
    """The open file. Methods are called by one thread, between `begin` and `commit`."""

    def __init__(self, path: Path, stream: Stream, boot_id: str, bounds: policy.Bounds) -> None:
        self.path = path
        self.bounds = bounds
        self.stream = stream
        self.rows = self.bytes = self.ranges = 0
        self._next = 0
        self._saved = (0, 0, 0, 0)
        self.db = sqlite3.connect(
            path, isolation_level=None, timeout=5.0, cached_statements=32, check_same_thread=False
        )
        try:
            self._check()
            self._tune()
            self.begin(durable=True)
            self.run_id, self.run = self._enter_run(boot_id)
            self._count()
            self.commit()
        except BaseException:
            self.db.close()
            raise

    def _check(self) -> None:
        """Raises Corrupt, or Rejected for another stream's file or a newer schema."""
        try:
            (application,) = self.db.execute("PRAGMA application_id").fetchone()
            (schema,) = self.db.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION or schema < 1:
                raise Corrupt("is no outbox")
            if schema > SCHEMA:
                raise Rejected(f"is of schema {schema}, newer than this version's {SCHEMA}", file=str(self.path))
            (verdict,) = self.db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise Corrupt(str(verdict)[:200])
            (stream,) = self.db.execute("SELECT value FROM meta WHERE key='stream'").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname in TRANSIENT:
                raise
            raise Corrupt(str(error)) from None
        except (sqlite3.DatabaseError, TypeError) as error:
            raise Corrupt(str(error)) from None
        if stream != self.stream.value:
            raise Rejected(f"is the outbox of stream {stream}, not {self.stream.value}", file=str(self.path))

    def _tune(self) -> None:
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA cache_size=-256")
        self.db.execute("PRAGMA wal_autocheckpoint=500")
        self.db.execute("PRAGMA journal_size_limit=2097152")

    def _enter_run(self, boot_id: str) -> tuple[int, str]:
        last = self.db.execute("SELECT id, run, boot, next FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        if last is not None and last[2] == boot_id:
            self._next = last[3]
            return last[0], last[1]
        run = secrets.token_hex(8)
        self._next = 1
        cursor = self.db.execute("INSERT INTO runs (run, boot, next) VALUES (?, ?, 1)", (run, boot_id))
        assert cursor.lastrowid is not None
        return cursor.lastrowid, run

    def _count(self) -> None:
        self.rows, self.bytes = self.db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM messages"
        ).fetchone()
        self.bytes += ENVELOPE * self.rows
        (self.ranges,) = self.db.execute("SELECT count(*) FROM dropped").fetchone()

    # --- transactions

    def begin(self, *, durable: bool) -> None:
        """Opens the transaction; with `durable`, its commit survives a power cut."""
        self.db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self.db.execute("BEGIN IMMEDIATE")
        self._saved = (self.rows, self.bytes, self.ranges, self._next)

    def commit(self) -> None:
        """Ends it; in the same transaction writes the next sequence number and evicts what is too much."""
        if self._next != self._saved[3]:
            self.db.execute("UPDATE runs SET next=? WHERE id=?", (self._next, self.run_id))
        if self.bounds.over(self.rows, self.bytes):
            self._evict()
        self.db.execute("COMMIT")

    def rollback(self) -> None:
        """Undoes it, in the file and here."""
        with contextlib.suppress(sqlite3.Error):
            self.db.execute("ROLLBACK")
        self.rows, self.bytes, self.ranges, self._next = self._saved

    def close(self) -> None:
        """Closes the file; the last one folds the WAL into it."""
        self.db.close()

    # --- within a transaction

    def put(self, kind: str, t: int, body: bytes) -> int:
        """Stores a message and returns its sequence number."""
        seq = self._next
        if kind in policy.LATEST:
            self.db.execute(
                "UPDATE messages SET rank=? WHERE rank=? AND kind=?", (policy.SUPERSEDED, policy.rank(kind), kind)
            )
        self.db.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)", (self.run_id, seq, kind, policy.rank(kind), t, body)
        )
        self._next = seq + 1
        self.rows += 1
        self.bytes += ENVELOPE + len(body)
        return seq

    def _evict(self) -> None:
        query = "SELECT run, seq, kind, rank, length(body) FROM messages ORDER BY rank, run, seq"
        with contextlib.closing(self.db.execute(query)) as cursor:
            candidates = (policy.Row(key=(r[0], r[1]), kind=r[2], rank=r[3], size=r[4] + ENVELOPE) for r in cursor)
            chosen = policy.evict(candidates, self.rows, self.bytes, self.bounds)
        self.db.executemany("DELETE FROM messages WHERE run=? AND seq=?", [row.key for row in chosen])
        by_run: dict[int, list[policy.Range]] = {}
        for row in chosen:
            by_run.setdefault(row.key[0], []).append((row.key[1], row.key[1], row.kind))
        for run, new in by_run.items():
            self._write_ranges(run, policy.merge([*self._ranges(run), *new], MAX_RANGES))
        self.rows -= len(chosen)
        self.bytes -= sum(row.size for row in chosen)

    def _ranges(self, run: int) -> list[policy.Range]:
        return self.db.execute("SELECT a, b, kind FROM dropped WHERE run=? ORDER BY a", (run,)).fetchall()

    def _write_ranges(self, run: int, ranges: Sequence[policy.Range]) -> None:
        before = self.db.execute("DELETE FROM dropped WHERE run=?", (run,)).rowcount
        self.db.executemany("INSERT INTO dropped VALUES (?, ?, ?, ?)", [(run, *one) for one in ranges])
        self.ranges += len(ranges) - before

    def told(self, name: str) -> bool:
        """True when the file set aside under this name was reported by this outbox."""
        return self.db.execute("SELECT 1 FROM meta WHERE key=?", (f"told {name}",)).fetchone() is not None

    def tell(self, name: str) -> None:
        """Remembers that it was."""
        self.db.execute("INSERT INTO meta VALUES (?, '')", (f"told {name}",))

    def batch(self, max_messages: int, max_bytes: int) -> IngestRequest | None:
        """The next request: of the run that has the most urgent message, with all of its dropped ranges that fit."""
        row = None
        for query in _FIRST:
            row = row or self.db.execute(query, {"urgent": policy.URGENT}).fetchone()
        if row is None:
            return None
        (name,) = self.db.execute("SELECT run FROM runs WHERE id=?", row).fetchone()
        messages: list[Envelope] = []
        for envelope in self._ordered(row[0], max_messages):
            max_bytes -= len(envelope.m) + ENVELOPE
            if messages and max_bytes < 0:
                break
            messages.append(envelope)
        messages.sort(key=lambda envelope: envelope.seq)
        dropped = self._ranges(row[0])[:MAX_RANGES]
        return IngestRequest(stream=self.stream, run=name, dropped=dropped, messages=messages)

    def _ordered(self, run: int, limit: int) -> Iterator[Envelope]:
        """Urgent ones by value, oldest first; then the rest, newest first."""
        left = limit
        for query in _ORDER:
            for seq, t, body in self.db.execute(query, {"run": run, "limit": left, "urgent": policy.URGENT}):
                left -= 1
                yield Envelope(seq=seq, t=t, m=msgspec.Raw(body))

    def settle(self, request: IngestRequest, answer: IngestAnswer) -> int:
        """Removes what the answer settles of what the request held, and nothing else; returns how many remain.

        So an answer that claims more than was sent deletes nothing that was never sent.
        """
        row = self.db.execute("SELECT id FROM runs WHERE run=?", (request.run,)).fetchone()
        if row is None:
            return self.rows
        run: int = row[0]
        ranges = policy.settled(answer.ack, answer.have)
        refused = {one.seq for one in answer.rejected}
        gone = [e.seq for e in request.messages if e.seq in refused or policy.covered(e.seq, ranges)]
        self._delete(run, gone)
        if request.dropped or self.ranges:
            before = self._ranges(run)
            declared = [(a, b) for a, b, _ in request.dropped]
            inside = [(max(a, c), min(b, d)) for a, b in declared for c, d in ranges if max(a, c) <= min(b, d)]
            after = policy.subtract(before, [*inside, *((seq, seq) for seq in gone)] if before else [])
            if after != before:
                self._write_ranges(run, after)
        self._forget_finished_runs()
        return self.rows

    def refuse(self, run: str, seq: int, problem: str) -> bool:
        """Sets a message aside that the cloud will not take: kept for people, declared as dropped."""
        row = self.db.execute("SELECT id FROM runs WHERE run=?", (run,)).fetchone()
        found = (
            row
            and self.db.execute("SELECT kind, t, body FROM messages WHERE run=? AND seq=?", (row[0], seq)).fetchone()
        )
        if not found:
            return False
        kind, t, body = found
        self.db.execute(
            "INSERT INTO refused (run, seq, t, body, problem) VALUES (?, ?, ?, ?, ?)", (run, seq, t, body, problem)
        )
        self.db.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (MAX_REFUSED,))
        self._delete(row[0], [seq])
        self._write_ranges(row[0], policy.merge([*self._ranges(row[0]), (seq, seq, kind)], MAX_RANGES))
        return True

    def _delete(self, run: int, seqs: Sequence[int]) -> None:
        for seq in seqs:
            cursor = self.db.execute("DELETE FROM messages WHERE run=? AND seq=? RETURNING length(body)", (run, seq))
            found = cursor.fetchone()
            if found is not None:
                self.rows -= 1
                self.bytes -= ENVELOPE + found[0]

    def _forget_finished_runs(self) -> None:
        self.db.execute(
            "DELETE FROM runs WHERE id<>? AND id NOT IN (SELECT run FROM messages)"
            " AND id NOT IN (SELECT run FROM dropped)",
            (self.run_id,),
        )


TRANSIENT = frozenset(
    {"SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOMEM", "SQLITE_PERM"}
)
"""Errors of the surroundings, not of the file; SQLITE_IOERR and its kin count as such too."""


def is_transient(error: sqlite3.Error) -> bool:
    """True for an error that a later try may not meet: no space, a busy or unwritable disk."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return name in TRANSIENT or name.startswith(("SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_READONLY"))
