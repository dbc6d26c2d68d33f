"""The file of hints: written by the process that listens, read by the commander. Touches that file alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from agents.core.errors import Retryable
from edge_commander.discovery.hints import MAX_BYTES, Hint, Hints, usable

PATH = "/run/galley-discovery/hints.json"


def write(path: Path, hints: Hints) -> None:
    """Replaces the file whole, readable by all. No fsync: it lies in memory, and is worth nothing after a restart.

    Raises Retryable naming the file.
    """
    new = path.with_name(path.name + ".new")
    try:
        new.write_bytes(msgspec.json.encode(hints))
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise Retryable(f"{path}: cannot be written: {error.strerror}") from None


class HintReader:
    """Where siblings may be, by the file of now. A file that is not there, is too long or is damaged is no hint.

    `monotonic`: s of this boot.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._read_as: tuple[int, int, int] | None = None
        self._hints: list[Hint] = []

    def __call__(self, node: str) -> tuple[str, ...]:
        """Addresses of `node`, at most PER_NODE, the last heard first. Reads the file only where it changed."""
        try:
            # A pipe or a device in its place must not hold the commander up.
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._read_as, self._hints = None, []
            return ()
        try:
            about = os.fstat(file)
            version = (about.st_ino, about.st_mtime_ns, about.st_size)
            if version != self._read_as:
                self._read_as, self._hints = version, _read(file)
        finally:
            os.close(file)
        return usable(self._hints, node, self._monotonic())


def _read(file: int) -> list[Hint]:
    try:
        data = os.read(file, MAX_BYTES + 1)
        return msgspec.json.decode(data, type=Hints).hints if len(data) <= MAX_BYTES else []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
