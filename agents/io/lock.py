"""An exclusive lock on a file, for as long as a process lives. Touches that file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """An exclusive flock(2): the kernel frees it when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._descriptor is not None

    def take(self) -> bool:
        """True when it is ours now; False while another has it. Raises OSError when the disk does not let us."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives it back; nothing happens when it is not ours."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
