"""Thousands of random crashes of the store, in process, against an account of every message.

A crash is an exception before the n-th statement, after which the files are copied as they lie: whole (a killed
process) or with the write-ahead log cut somewhere after its last fsync (a power cut; the boot id then changes).
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.codec import encode
from agents.contracts.ids import Stream
from agents.contracts.messages import Alert, Beat, Body, Facts, Severity, kind_of
from agents.io.outbox import store as store_module
from agents.io.outbox.policy import Bounds
from agents.io.outbox.store import Store, create
from tests.fakes.cloud import FakeCloud


class Crash(BaseException):
    """The process is gone."""


class Fragile(sqlite3.Connection):
    """Crashes before the statement that is due."""

    left = 10**9

    def execute(self, *args: Any) -> Any:
        if Fragile.left <= 0:
            raise Crash
        Fragile.left -= 1
        return super().execute(*args)


@dataclass
class Account:
    """What was promised and what the cloud has."""

    cloud: FakeCloud = field(default_factory=FakeCloud)
    durable: dict[tuple[str, int], bytes] = field(default_factory=dict)
    volatile: dict[tuple[str, int], bytes] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)

    def committed(self, new: dict[tuple[str, int], bytes], durable: bool) -> None:
        assert not new.keys() & (self.durable.keys() | self.volatile.keys()), "a number was given twice"
        self.volatile |= new
        if durable:  # an fsync of the log covers all that lies before it
            self.durable |= self.volatile
            self.volatile = {}

    def power_cut(self, run: str) -> None:
        self.volatile = {}
        self.torn.add(run)

    def check(self) -> None:
        for (run, seq), body in (self.durable | self.volatile).items():
            known = self.cloud.runs[run]
            assert seq in known.settled(), f"{seq} of {run} is lost"
            assert known.messages.get(seq, body) == body
        for run, known in self.cloud.runs.items():
            numbers = known.settled()
            assert run in self.torn or numbers == set(range(1, len(numbers) + 1)), f"{run} has an undeclared gap"


class World:
    """One machine with its disk, through many lives."""

    def __init__(self, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.account = Account()
        self.disk = root / "disk-0"
        self.disk.mkdir()
        self.root = root
        self.boot = self.copies = self.serial = self.crashes = 0
        self.synced = 0
        self.run = ""
        create(self.disk / "o.db", Stream.HEARTBEAT)

    @property
    def wal(self) -> Path:
        return self.disk / "o.db-wal"

    def body(self) -> Body:
        self.serial += 1
        text = f"m{self.serial}"
        if self.chance.random() < 0.5:
            return Beat(boot="00000000", up=self.serial, ok=1)
        if self.chance.random() < 0.3:
            return Facts(
                boot_id="b", boot_time=self.serial, hostname=text, hardware="", serial="", kernel="", os="",
                versions={}, cpus=1, memory_total=1, memory_available=1, load=[], disks=[], links=[], interval=1,
            )  # fmt: skip
        return Alert(code="c", severity=Severity.INFO, text=text)

    def life(self, *, crash: bool) -> None:
        """Opens, works, and crashes in between or closes. Afterwards `disk` is what the next life finds."""
        Fragile.left = self.chance.randint(8, 90) if crash else 10**9
        store: Store | None = None
        try:
            store = Store(self.disk / "o.db", Stream.HEARTBEAT, f"boot-{self.boot}", Bounds(rows=10, bytes=10**5))
            self.run = store.run
            for _ in range(self.chance.randint(1, 8)):
                self.transaction(store)
            store.db.execute("SELECT 1")
            self.synced = 0  # closed below: the log is folded into the file
        except Crash:
            self.crashes += 1
            self.copy()
        Fragile.left = 10**9
        if store is not None:
            store.close()

    def transaction(self, store: Store) -> None:
        durable = self.chance.random() < 0.4
        new: dict[tuple[str, int], bytes] = {}
        store.begin(durable=durable)
        for _ in range(self.chance.randint(1, 4)):
            body = self.body()
            new[store.run, store.put(kind_of(body), 1, encode(body))] = encode(body)
        store.commit()
        if store.db.execute("PRAGMA synchronous").fetchone() == (2,):  # FULL: the log was fsynced by this commit
            self.synced = self.wal.stat().st_size
        self.account.committed(new, durable)
        if self.chance.random() < 0.4:
            self.send(store)

    def send(self, store: Store) -> bool:
        store.begin(durable=False)
        request = store.batch(self.chance.randint(1, 6), 10**5)
        store.commit()
        if request is None:
            return False
        answer = self.account.cloud.take(request)
        store.begin(durable=False)
        store.settle(request, answer)
        store.commit()
        return True

    def copy(self) -> None:
        """What the next life finds: the files as they lie, or, after a power cut, with a shorter log."""
        self.copies += 1
        after = self.root / f"disk-{self.copies}"
        after.mkdir()
        for file in self.disk.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, after / file.name)
        shutil.rmtree(self.root / f"disk-{self.copies - 2}", ignore_errors=True)
        self.disk = after
        if self.chance.random() < 0.5 and self.wal.exists() and (size := self.wal.stat().st_size) >= self.synced:
            with self.wal.open("r+b") as log:
                log.truncate(self.chance.randint(self.synced, size))
            self.account.power_cut(self.run)
            self.synced = self.wal.stat().st_size  # what survived is on the disk
            self.boot += 1


@pytest.fixture(autouse=True)
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(store_module.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Fragile))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what is lost is decided here, not by the disk."""
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    yield where
    shutil.rmtree(where, ignore_errors=True)


@pytest.mark.parametrize("seed", range(20))
def test_random_crashes_lose_nothing_that_was_promised(box: Path, seed: int) -> None:
    world = World(box, seed)
    for _ in range(110):
        world.life(crash=True)
    assert world.crashes > 50
    store = Store(world.disk / "o.db", Stream.HEARTBEAT, f"boot-{world.boot}", Bounds(rows=10, bytes=10**5))
    while world.send(store):
        pass
    store.close()
    world.account.check()
