"""What a daemon's outbox holds that nobody acknowledged, read by a bystander. Reads the file, changes nothing of it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.core.errors import Retryable
from agents.io.outbox import policy

_RUNS = "SELECT id, run, next FROM runs ORDER BY id DESC"
_RANGES = "SELECT seq, seq FROM messages WHERE run=:run UNION SELECT a, b FROM dropped WHERE run=:run"


@dataclass(frozen=True)
class Run:
    """One run of a stream, the newest first. `next`: the sequence number that comes next; `ranges`: of numbers, both
    ends included, queued or given up, and not settled by the cloud."""

    run: str
    next: int
    ranges: tuple[tuple[int, int], ...]


def unsent(path: Path) -> list[Run]:
    """Every run that the file knows; empty where there is no file. Raises Retryable where it cannot be read."""
    if not path.exists():
        return []
    try:
        with _opened(path) as db:
            return [Run(run, after, _ranges(db, number)) for number, run, after in db.execute(_RUNS).fetchall()]
    except (sqlite3.Error, OSError) as error:
        raise Retryable(f"outbox {path}: {error}") from None


def _ranges(db: sqlite3.Connection, run: int) -> tuple[tuple[int, int], ...]:
    found = policy.merge([(a, b, "") for a, b in db.execute(_RANGES, {"run": run})])
    return tuple((a, b) for a, b, _ in found)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """As it is while its daemon runs. Where that ended, or was killed, a reader would have to make the log's index
    beside it: a copy is read then."""
    with contextlib.ExitStack() as stack:
        if path.with_name(f"{path.name}-shm").exists():
            where = f"file:{path}?mode=ro"
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="galley-outbox-")))
            for suffix in ("", "-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(path.with_name(path.name + suffix), folder / f"copy{suffix}")
            where = f"file:{folder / 'copy'}"
        yield stack.enter_context(contextlib.closing(sqlite3.connect(where, uri=True, timeout=2.0)))
