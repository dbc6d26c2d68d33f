"""The bundle as a file on `keep`: a tar.gz that is there whole, or not at all. Touches its folder.

Nothing is written that was not scrubbed before, not even for a moment: what waits to be packed lies in files without
a name, and is scrubbed already.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agents.core.errors import Rejected
from agents.io.state import sync_directory
from edge_commander.distribution.port import SPARE_BYTES

SUFFIX = ".tar.gz"
HALF = ".part"
MARGIN = 256 * 1024
"""Bytes of a bundle kept for its list of contents."""


@dataclass(frozen=True)
class Stored:
    """A whole bundle on this node."""

    name: str
    bytes: int
    made: float


class Tail:
    """The last `most` bytes of what is written, from the beginning of a line. Holds at most twice that, on disk."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._files: list[IO[bytes]] = []
        self._size = 0
        self.cut = False

    def write(self, data: bytes) -> None:
        """Whole lines. Raises OSError."""
        if not self._files or self._size + len(data) > self._most:
            if self._files:
                self.cut = self.cut or len(self._files) > 1
                for old in self._files[:-1]:
                    old.close()
                self._files = self._files[-1:]
            self._files.append(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - closed in `close`
            self._size = 0
        self._files[-1].write(data)
        self._size += len(data)

    def content(self) -> tuple[Sequence[IO[bytes]], int]:
        """Files to be read in order from where they stand, and the bytes in them."""
        sizes = [file.seek(0, os.SEEK_END) for file in self._files]
        over = sum(sizes) - self._most
        for file in self._files:
            file.seek(0)
        if over > 0:
            self.cut = True
            first = self._files[0]
            first.seek(min(over, sizes[0]))
            first.readline()
            sizes[0] -= first.tell()
        return self._files, sum(sizes)

    def close(self) -> None:
        """Gives the disk back."""
        for file in self._files:
            file.close()


class Writer:
    """One bundle under its half name. `add` returns False where there is no room for it in the bundle."""

    def __init__(self, folder: Path, name: str, most: int, now: float) -> None:
        self.name, self.folder = name, folder
        self._most, self._now = most, now
        self._path = folder / f".{name}{SUFFIX}{HALF}"
        self._target = folder / f"{name}{SUFFIX}"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        self._raw = _Whole(os.fdopen(descriptor, "wb", buffering=0))
        self._zip = gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=6, mtime=int(now))
        self._tar = tarfile.open(fileobj=self._zip, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, files: Sequence[IO[bytes]], size: int, *, last: bool = False) -> bool:
        """One file out of several. Raises OSError."""
        worst = size + size // 1000 + 4096
        if self._raw.tell() + worst > self._most - (0 if last else MARGIN):
            return False
        entry = tarfile.TarInfo(f"{self.name}/{name}")
        entry.size, entry.mtime, entry.mode = size, int(self._now), 0o640
        self._tar.addfile(entry, _Joined(files))
        return True

    def complete(self, group: int | None) -> Stored:
        """Whole, on disk, under its name; readable for `group`. Raises OSError."""
        self._tar.close()
        self._zip.close()
        descriptor = self._raw.file.fileno()
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, 0o640)
        os.fsync(descriptor)
        size = self._raw.tell()
        self._raw.file.close()
        self._path.replace(self._target)
        sync_directory(self._target.parent)
        return Stored(self._target.name, size, self._now)

    def abandon(self) -> None:
        """Nothing of it stays; what is not on disk yet is not written any more."""
        self._zip.fileobj = None  # type: ignore[assignment]
        self._raw.file.close()
        self._path.unlink(missing_ok=True)


class _Whole:
    """A file without a buffer that is written whole, or raises: a full disk takes the first half of a piece."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        self._size = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) or 0 :]
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass


class _Joined(io.RawIOBase):
    """Several files as one to be read."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        self._files = list(files)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes but at the end: tarfile takes less for an error."""
        found = b""
        while self._files and len(found) < size:
            data = self._files[0].read(size - len(found))
            found += data
            if not data:
                self._files.pop(0)
        return found


def stored(folder: Path) -> list[Stored]:
    """Whole bundles, the newest first. Raises OSError."""
    found = []
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.endswith(SUFFIX) and not file.name.startswith(".") and file.is_file() and not file.is_symlink():
            status = file.stat()
            found.append(Stored(file.name, status.st_size, status.st_mtime))
    return sorted(found, key=lambda one: (one.made, one.name), reverse=True)


def make_room(folder: Path, keep: int, keep_bytes: int, needed: int, spool: int) -> None:
    """Removes what was left half made, and the oldest bundles past the budget, so that one of `needed` bytes fits.
    Raises Rejected where the disk has too little room even so, OSError."""
    for half in folder.glob(f".*{HALF}"):
        half.unlink()
    left, gone = stored(folder), []
    while left and (len(left) >= keep or sum(one.bytes for one in left) + needed > keep_bytes):
        gone.append(left.pop())
    free = shutil.disk_usage(folder).free
    wanted = needed + spool + SPARE_BYTES
    if free + sum(one.bytes for one in gone) < wanted:
        raise Rejected(f"{free >> 20} MiB are free, a bundle needs {wanted >> 20}", file=str(folder))
    for one in gone:
        (folder / one.name).unlink()
