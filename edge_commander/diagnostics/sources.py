"""Reads one source piece by piece, within its bounds. Touches programs, files and loopback ports of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncGenerator, Callable, Set
from dataclasses import dataclass
from pathlib import Path

from edge_commander.diagnostics.plan import Fetch, Item, Read, Run
from edge_commander.distribution.children import ended, start

PIECE = 64 * 1024
KILL_SECONDS = 3.0
"""How long a killed program is waited for."""
RAW = 6
"""So many times an item's bytes are read of a program before it is ended."""


@dataclass
class Said:
    """How reading ended. `problem`: why not as it should, for people. `whole`: nothing is missing at the end."""

    problem: str = ""
    whole: bool = True
    whole_start: bool = True


async def read(item: Item, seconds: float, secret: Set[tuple[int, int]], said: Said) -> AsyncGenerator[bytes, None]:
    """The source's bytes; `said` is filled as it goes. `secret`: files, by device and inode, that are never read.
    What fails, hangs or is not there ends the pieces, with a word in `said`."""
    try:
        async with asyncio.timeout(seconds):
            async with contextlib.aclosing(_pieces(item, secret, said)) as pieces:
                async for piece in pieces:
                    yield piece
    except TimeoutError:
        said.problem, said.whole = f"no end within {seconds:.1f} s", False
    except OSError as error:
        said.problem, said.whole = os.strerror(error.errno) if error.errno else str(error), False


def _pieces(item: Item, secret: Set[tuple[int, int]], said: Said) -> AsyncGenerator[bytes, None]:
    match item.source:
        case Run(argv):
            return _run(argv, item.bytes * RAW, said)
        case Read(path):
            return _file(path, item.bytes, secret, said)
        case Fetch():
            return _fetch(item.source, item.bytes, said)


async def _run(argv: tuple[str, ...], most: int, said: Said) -> AsyncGenerator[bytes, None]:
    process = await start(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        assert process.stdout is not None
        count = 0
        while piece := await process.stdout.read(PIECE):
            yield piece
            count += len(piece)
            if count >= most:
                said.problem, said.whole = f"ended after {count} bytes", False
                return
        code = await process.wait()
        if code != 0:
            said.problem = f"ended with {code}"
    finally:
        try:  # one that waits for a dead disk does not end, not even killed: it must not hold the others up
            async with asyncio.timeout(KILL_SECONDS):
                await ended(process)
        except TimeoutError:
            said.problem, said.whole = "does not end, not even killed", False


async def _file(path: str, most: int, secret: Set[tuple[int, int]], said: Said) -> AsyncGenerator[bytes, None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        found = os.fstat(descriptor)
        # What was opened, and not what the name leads to now: a folder on the way may belong to somebody else.
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()) != path:
            raise OSError("stands behind a link")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError("is no plain file of its own")
        if (found.st_dev, found.st_ino) in secret:
            raise OSError("holds secrets")
        if found.st_size > most:
            stream.seek(found.st_size - most)
            said.whole_start = False
        left = most
        while left > 0 and (piece := stream.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
        if left <= 0 and stream.read(1):
            said.whole = False


async def _fetch(source: Fetch, most: int, said: Said) -> AsyncGenerator[bytes, None]:
    reader, writer = await asyncio.open_connection(source.host, source.port)
    try:
        writer.write(f"GET {source.path} HTTP/1.0\r\nHost: {source.host}\r\n\r\n".encode())
        left = most
        while piece := await reader.read(min(PIECE, left)):
            left -= len(piece)
            yield piece
            if left <= 0:
                said.whole = False
                return
    finally:
        writer.close()


Reader = Callable[[Item, float, Set[tuple[int, int]], Said], AsyncGenerator[bytes, None]]
