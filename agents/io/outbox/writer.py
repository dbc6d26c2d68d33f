"""The outbox's one writer thread: takes all waiting jobs, runs them in one transaction, commits once (group commit)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.core.errors import Retryable
from agents.io.outbox.store import Corrupt, Store, is_transient

T = TypeVar("T")
GROUP = 256
"""Jobs in one transaction at most."""


@dataclass
class _Job:
    work: Callable[[Store], Any]
    durable: bool
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs jobs on a Store. `reopen` makes a new, sound one when the open one proves corrupt."""

    def __init__(self, store: Store, reopen: Callable[[Store, str], Store]) -> None:
        self.store = store
        self._reopen = reopen
        self._jobs: list[_Job] = []
        self._wake = threading.Condition()
        self._closing = False
        self._broken: Exception | None = None
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Store], T], *, durable: bool = False) -> T:
        """The job's result, once its transaction is committed. Raises Retryable when it could not be."""
        job = _Job(work, durable)
        with self._wake:
            if self._closing or self._broken is not None:
                raise RuntimeError("the outbox is closed") from self._broken
            self._jobs.append(job)
            self._wake.notify()
        result: T = await asyncio.wrap_future(job.future)
        return result

    def close(self) -> None:
        """Ends the thread after the jobs that wait, and closes the file. Blocks until then."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs and not self._closing:
                    self._wake.wait()
                jobs, self._jobs = self._jobs[:GROUP], self._jobs[GROUP:]
            if not jobs:
                self.store.close()
                return
            try:
                self._group(jobs)
            except Exception as error:  # noqa: BLE001 - handed to those who wait; the loop crashes on it, not this thread
                self._broken = error
                _fail(jobs, error)

    def _group(self, jobs: list[_Job]) -> None:
        """One transaction; a full disk is met with a checkpoint and one more try, corruption with a new file."""
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        try:
            results = self._transaction(jobs)
        except (sqlite3.Error, Corrupt) as error:
            try:
                results = self._second_try(jobs, error)
            except sqlite3.Error as again:
                if not is_transient(again):
                    raise
                _fail(jobs, Retryable(f"outbox {self.store.path}: {again}"))
                return
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _second_try(self, jobs: list[_Job], error: Exception) -> list[Any]:
        if isinstance(error, sqlite3.Error) and is_transient(error):
            if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                self.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            self.store = self._reopen(self.store, str(error))
        return self._transaction(jobs)

    def _transaction(self, jobs: list[_Job]) -> list[Any]:
        results: list[Any] = []
        self.store.begin(durable=any(job.durable for job in jobs))
        try:
            results = [job.work(self.store) for job in jobs]
            self.store.commit()
        except BaseException:
            self.store.rollback()
            raise
        self.commits += 1
        return results


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
