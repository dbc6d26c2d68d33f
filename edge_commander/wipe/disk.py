"""One block device for real: opened exclusively, written past the page cache. Touches it.

`O_EXCL` on a block device fails while it is mounted or in use by another layer, so nothing that is in use is erased;
`O_DIRECT` makes a read come from the medium and not from what was just written. A plain file serves as well.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

from edge_commander.wipe.blocks import CHUNK

ALIGNMENT = 512


class Disk:
    """Closed by `close`; a context manager. Every call raises OSError."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        real = path.resolve(strict=True)
        self._direct = True
        try:
            self._fd = os.open(real, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._direct = False  # a file system without O_DIRECT
            self._fd = os.open(real, flags)
        try:
            self.size = os.lseek(self._fd, 0, os.SEEK_END) // ALIGNMENT * ALIGNMENT
            self._zeros = mmap.mmap(-1, CHUNK)
            self._buffer = mmap.mmap(-1, CHUNK)
        except BaseException:
            os.close(self._fd)
            raise

    def read(self, offset: int, length: int) -> bytes:
        """See BlockDevice."""
        length = min(length, self.size - offset)
        pieces: list[bytes] = []
        done = 0
        while done < length:
            want = min(CHUNK, length - done)
            if not self._direct:
                with suppress(OSError):  # where the page cache is used after all, it is asked to forget
                    os.posix_fadvise(self._fd, offset + done, want, os.POSIX_FADV_DONTNEED)
            with memoryview(self._buffer) as view:
                count = os.preadv(self._fd, [view[:want]], offset + done)
            if count <= 0:
                raise OSError(errno.EIO, "ends before its size")
            pieces.append(self._buffer[:count])
            done += count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """See BlockDevice."""
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            self._buffer[: len(piece)] = piece
            self._put(self._buffer, offset + start, len(piece))

    def zero(self, offset: int, length: int) -> None:
        """See BlockDevice."""
        for start in range(0, length, CHUNK):
            self._put(self._zeros, offset + start, min(CHUNK, length - start))

    def flush(self) -> None:
        """See BlockDevice."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Ends the exclusive use."""
        os.close(self._fd)

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, source: mmap.mmap, offset: int, length: int) -> None:
        done = 0
        with memoryview(source) as view:
            while done < length:
                done += os.pwritev(self._fd, [view[done:length]], offset + done)
