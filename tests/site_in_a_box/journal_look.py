"""A part of a file or device as the wipe's journal is read from it: only looked at, and maybe in use."""

from __future__ import annotations

import os
from pathlib import Path


class JournalLook:
    """`start` and `size`: where it lies in the file, bytes; without: all of it. Writing raises PermissionError."""

    def __init__(self, file: Path, start: int = 0, size: int | None = None) -> None:
        self._file = file.open("rb", buffering=0)
        self._start = start
        self.size = self._file.seek(0, os.SEEK_END) if size is None else size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), min(length, self.size - offset), self._start + offset)

    def write(self, offset: int, data: bytes) -> None:
        raise PermissionError("it is only looked at")

    def zero(self, offset: int, length: int) -> None:
        raise PermissionError("it is only looked at")

    def flush(self) -> None:
        pass

    def __enter__(self) -> JournalLook:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
