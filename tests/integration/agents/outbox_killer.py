"""Run as a program: walks an outbox through SIGKILL at every point, and at random ones, and accounts for each message.

Each life of the outbox is a forked process that kills itself with a real SIGKILL at its n-th point: before or after a
statement on the database, or a rename, unlink or fsync of a file. What the life was told (numbers returned by `put`)
and what the cloud took are written to a pipe before the next step, so the account survives the kill. After each kill
the outbox is opened again and drained; then every number that was returned must be with the cloud, either as a
message or as declared dropped, and no number may have been used for two messages.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agents.contracts.codec import decode, encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestRequest
from agents.contracts.messages import Alert, Beat, Severity
from agents.io import state
from agents.io.clock import SystemClock
from agents.io.outbox import SqliteOutbox, store
from tests.fakes.cloud import FakeCloud

MAX_ROWS = 12


class Points:
    """Counts the points passed; kills at the chosen one."""

    def __init__(self, kill_at: int | None) -> None:
        self.passed = 0
        self.kill_at = kill_at

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(points: Points) -> None:
    """Puts a point before and after everything that touches the disk, in this process alone."""

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            points.point()
            result = call(*args, **kwargs)
            points.point()
            return result

        return wrapped

    class Armed(sqlite3.Connection):
        execute = around(sqlite3.Connection.execute)
        executemany = around(sqlite3.Connection.executemany)
        executescript = around(sqlite3.Connection.executescript)
        close = around(sqlite3.Connection.close)

    connect = sqlite3.connect
    store.sqlite3.connect = lambda *a, **k: connect(*a, **k, factory=Armed)  # type: ignore[attr-defined]
    Path.replace = around(Path.replace)  # type: ignore[method-assign]
    Path.rename = around(Path.rename)  # type: ignore[method-assign]
    Path.unlink = around(Path.unlink)  # type: ignore[method-assign]
    state.os.fsync = around(os.fsync)  # type: ignore[attr-defined]


class Life:
    """What one life of the outbox does, told to the account line by line."""

    def __init__(self, path: Path, boot: str, pipe: int, name: int) -> None:
        self._path = path
        self._boot = boot
        self._pipe = pipe
        self._name = name
        self._serial = 0

    def _tell(self, *line: Any) -> None:
        os.write(self._pipe, msgspec.json.encode(line) + b"\n")

    async def _put(self, outbox: SqliteOutbox, urgent: bool) -> None:
        self._serial += 1
        text = f"{self._name}.{self._serial}"
        body = (
            Alert(code="t", severity=Severity.INFO, text=text)
            if urgent
            else Beat(boot="00000000", up=self._name, ok=self._serial)
        )
        seq = await outbox.put(body, durable=urgent)
        self._tell("put", outbox.run, seq, encode(body).decode())

    async def run(self, steps: list[str]) -> None:
        outbox = await SqliteOutbox.open(
            self._path, Stream.HEARTBEAT, self._boot, SystemClock(), max_rows=MAX_ROWS, max_bytes=10**6
        )
        cloud = FakeCloud()
        for step in steps:
            if step == "beat":
                await self._put(outbox, False)
            elif step == "alert":
                await self._put(outbox, True)
            elif step == "burst":
                await asyncio.gather(*(self._put(outbox, n % 3 == 0) for n in range(8)))
            elif step == "send" and (request := await outbox.batch(5, 10**5)) is not None:
                answer = cloud.take(request)
                self._tell("took", encode(request).decode())
                await outbox.settle(request, answer)
            elif step == "refuse" and (request := await outbox.batch(1, 10**5)) is not None:
                await outbox.refuse(request, "bad")
        await outbox.aclose()


def live(path: Path, boot: str, name: int, steps: list[str], kill_at: int | None) -> tuple[bool, list[list[Any]], int]:
    """One life in a forked process: whether it was killed, its account, and how many points it passed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        points = Points(kill_at)
        try:
            arm(points)
            asyncio.run(asyncio.wait_for(Life(path, boot, write, name).run(steps), 30))
            os.write(write, msgspec.json.encode(["points", points.passed]) + b"\n")
            os._exit(0)
        except BaseException as error:
            os.write(2, f"life {name} {steps} {kill_at}: {error!r}\n".encode())
            os._exit(3)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        account = [msgspec.json.decode(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and os.WEXITSTATUS(status) != 0:
        sys.exit(f"a life ended by itself with status {status}")
    passed = next((line[1] for line in account if line[0] == "points"), 0)
    return killed, account, passed


class Account:
    """Every number returned, and everything that the cloud took."""

    def __init__(self) -> None:
        self.returned: dict[tuple[str, int], str] = {}
        self.cloud = FakeCloud()

    def add(self, lines: list[list[Any]]) -> None:
        for line in lines:
            if line[0] == "put":
                key = (line[1], line[2])
                assert key not in self.returned, f"number {key} was returned twice"
                self.returned[key] = line[3]
            elif line[0] == "took":
                self.cloud.take(decode(line[1], IngestRequest))

    async def drain(self, path: Path, boot: str, *, corrupt: bool = False) -> None:
        outbox = await SqliteOutbox.open(
            path, Stream.HEARTBEAT, boot, SystemClock(), max_rows=MAX_ROWS, max_bytes=10**6
        )
        assert corrupt or not outbox.quarantined, "a sound file was set aside"
        while (request := await outbox.batch(5, 10**5)) is not None:
            await outbox.settle(request, self.cloud.take(request))
        await outbox.aclose()

    def check(self) -> None:
        for (run, seq), body in self.returned.items():
            known = self.cloud.runs.get(run)
            assert known is not None, f"run {run} is lost"
            assert seq in known.settled(), f"message {seq} of run {run} is lost"
            assert known.messages.get(seq, body.encode()) == body.encode(), f"message {seq} became another"
        for run, known in self.cloud.runs.items():
            numbers = known.settled()
            assert numbers == set(range(1, max(numbers, default=0) + 1)), f"run {run} has a gap that nobody declared"


WALK = ["beat", "alert", "burst", "send", "burst", "send", "refuse", "beat", "send", "alert"]


def walk(directory: Path, *, filled: bool) -> int:
    """Kills at every point of one life that does everything there is, from an empty directory or from a filled one."""
    at = 0
    while True:
        at += 1
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        path, account = directory / "outbox.db", Account()
        if filled:
            account.add(live(path, "boot-0", 1, ["burst", "burst", "beat"], None)[1])
        killed, lines, _ = live(path, "boot-1", 2, WALK, at)
        account.add(lines)
        asyncio.run(account.drain(path, "boot-1"))
        account.check()
        if not killed:
            return at - 1


def walk_corrupt(directory: Path) -> int:
    """Kills at every point of a life that finds a corrupt file: it is kept, and reported in the end."""
    at = 0
    while True:
        at += 1
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        path, account = directory / "outbox.db", Account()
        garbage = b"no outbox at all " * 1000
        path.write_bytes(garbage)
        killed, lines, _ = live(path, "boot-1", 1, ["alert", "send", "beat"], at)
        account.add(lines)
        asyncio.run(account.drain(path, "boot-1", corrupt=True))
        account.check()
        assert any(file.read_bytes() == garbage for file in directory.glob("outbox.db.corrupt-*")), "it was not kept"
        messages = [body for run in account.cloud.runs.values() for body in run.messages.values()]
        assert any(b"outbox-corrupt" in body for body in messages), "it was not reported"
        if not killed:
            return at - 1


def wander(directory: Path, seed: int, lives: int) -> int:
    """Random lives on one file, each killed at a random point (some not at all), the boot id changing now and then."""
    chance = random.Random(seed)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    path, account, kills, boot = directory / "outbox.db", Account(), 0, 0
    for name in range(1, lives + 1):
        boot += chance.random() < 0.2
        steps = chance.choices(["beat", "alert", "burst", "send", "refuse"], [4, 3, 2, 5, 1], k=chance.randint(1, 12))
        killed, lines, _ = live(path, f"boot-{boot}", name, steps, chance.randint(1, 250))
        kills += killed
        account.add(lines)
    asyncio.run(account.drain(path, f"boot-{boot}"))
    account.check()
    return kills


if __name__ == "__main__":
    where = Path(sys.argv[2])
    if sys.argv[1] == "walk":
        print(walk_corrupt(where) if sys.argv[3] == "corrupt" else walk(where, filled=sys.argv[3] == "filled"))
    else:
        print(wander(where, int(sys.argv[3]), int(sys.argv[4])))
