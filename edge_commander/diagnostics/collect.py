"""Carries out a plan: every source through the scrubber into one bundle on `keep`. Runs as root, at low priority.

What hangs or fails leaves a note in the bundle's list of contents; only the disk ends it. Asked again for a bundle
that is there whole, it says so: exactly one comes of a command, wherever the power fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from agents.contracts.codec import Struct
from agents.core.errors import Rejected, Retryable
from edge_commander.diagnostics import held as holding
from edge_commander.diagnostics import sources
from edge_commander.diagnostics.bundle import Stored, Tail, Writer, make_room, stored
from edge_commander.diagnostics.held import Held
from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.plan import Item, plan
from edge_commander.diagnostics.scrub import Scrubber
from edge_commander.settings import CommanderSettings

NAME = re.compile(r"[0-9a-f]{32}|by-hand-[0-9]{8}-[0-9]{6}")
GROUP = "galley-commander"
LOCK = ".lock"
LEAST = 0.2
"""Seconds that must be left for a source to be tried."""


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the list of contents. `scrubbed`: lines that something was taken out of; `problem`: why it is not
    whole, for people."""

    name: str
    what: str
    bytes: int = 0
    scrubbed: int = 0
    cut: bool = False
    problem: str = ""


class Contents(Struct, frozen=True, kw_only=True):
    """`contents.json` of a bundle. `made`: Unix s by this node's clock. `secrets`: how many values of this node were
    looked for; `passed_over`: files of secrets that could not be read."""

    v: int = 1
    name: str
    made: int
    hours: float
    secrets: int
    passed_over: int
    entries: list[Entry]


def _humble() -> None:
    """The lowest priority for CPU and disk, also for the programs started: a kitchen's work goes first."""
    import psutil

    with contextlib.suppress(OSError, psutil.Error):
        os.nice(19)
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


@dataclass(frozen=True)
class Parts:
    """What tests put others for."""

    items: Callable[[CommanderSettings], list[Item]] = plan
    held: Callable[[CommanderSettings, Path], Held] = holding.read
    read: sources.Reader = sources.read
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    humble: Callable[[], None] = _humble


async def collect(name: str, own: CommanderSettings, state_dir: Path, parts: Parts | None = None) -> dict[str, Any]:
    """Makes the bundle `name`; its file's name, bytes and SHA-256. `state_dir`: of the suite.
    Raises Rejected where the disk is full or cannot be
    written, Retryable where another bundle is being made for too long."""
    if NAME.fullmatch(name) is None:
        raise Rejected(f"{name[:80]!r} is no bundle's name")
    folder = Path(own.diagnostics.folder)
    parts = parts or Parts()
    parts.humble()
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        group = _group()
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(0o750)
        with _alone(folder, own.diagnostics.collect_seconds + 30.0):
            done = next((one for one in stored(folder) if one.name == f"{name}.tar.gz"), None)
            done = done or await _make(name, own, state_dir, group, parts)
            return {"name": done.name, "bytes": done.bytes, "sha256": _digest(folder / done.name)}
    except OSError as error:
        raise Rejected(f"no bundle was made: {error.strerror or error}", file=str(folder)) from None


async def _make(name: str, own: CommanderSettings, state_dir: Path, group: int | None, parts: Parts) -> Stored:
    ours, items, folder = own.diagnostics, parts.items(own), Path(own.diagnostics.folder)
    spool = 2 * max((one.bytes for one in items), default=0)
    make_room(folder, ours.keep, ours.keep_bytes, ours.bundle_bytes, spool)
    held = parts.held(own, state_dir)
    known = Known(held.values)
    end = parts.monotonic() + ours.collect_seconds
    now = parts.wall()
    writer = Writer(folder, name, ours.bundle_bytes, now)
    try:
        entries = [
            await _take(writer, item, min(item.seconds, end - parts.monotonic()), held=held, known=known, parts=parts)
            for item in items
        ]
        contents = Contents(
            name=name,
            made=int(now),
            hours=ours.hours,
            secrets=known.count,
            passed_over=held.passed_over,
            entries=entries,
        )
        _add(writer, "contents.json", msgspec.json.format(msgspec.json.encode(contents)) + b"\n")
        return writer.complete(group)
    except BaseException:
        writer.abandon()
        raise


async def _take(writer: Writer, item: Item, seconds: float, *, held: Held, known: Known, parts: Parts) -> Entry:
    """One source into the bundle; what came of it. Raises OSError of our own disk alone."""
    what = item.describe()
    if seconds < LEAST:
        return Entry(name=item.name, what=what, problem="not collected: the time was over")
    said = sources.Said()
    tail = Tail(writer.folder, item.bytes)
    try:
        scrubber: Scrubber | None = None
        async with contextlib.aclosing(parts.read(item, seconds, held.files, said)) as pieces:
            async for piece in pieces:
                scrubber = scrubber or Scrubber(known, whole_start=said.whole_start)
                tail.write(scrubber.feed(piece))
        if scrubber is not None:
            tail.write(scrubber.finish(whole_end=said.whole))
        files, size = tail.content()
        taken = writer.add(item.name, files, size)
        return Entry(
            name=item.name,
            what=what,
            bytes=size if taken else 0,
            scrubbed=scrubber.scrubbed if scrubber is not None else 0,
            cut=tail.cut or not said.whole or not said.whole_start,
            problem=said.problem if taken else "left out: the bundle would have become too large",
        )
    finally:
        tail.close()


def _add(writer: Writer, name: str, data: bytes) -> None:
    stream: Sequence[IO[bytes]] = [io.BytesIO(data)]
    if not writer.add(name, stream, len(data), last=True):
        raise Rejected("the bundle has no room for its list of contents: raise diagnostics.bundle_bytes")


def _group() -> int | None:
    """Of Edge Commander's user, who sends bundles; None where there is none, or we may not give files away."""
    import grp

    try:
        return grp.getgrnam(GROUP).gr_gid if os.geteuid() == 0 else None
    except KeyError:
        return None


@contextlib.contextmanager
def _alone(folder: Path, seconds: float) -> Iterator[None]:
    """One bundle at a time; waits for another. Raises Retryable, OSError."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise Retryable("another bundle is being made") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _digest(file: Path) -> str:
    import hashlib

    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
