"""The state directory that unit and pod share: its lock, the pod's mark, and the outbox of the one on duty."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import msgspec

from heartbeat.duty import Mark

LOCK = "lock"
MARK = "pod.mark"


class Lock:
    """An exclusive flock(2): the kernel frees it when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._descriptor is not None

    def take(self) -> bool:
        """True when it is ours now; False while another has it. Raises OSError when the disk does not let us."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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


class MarkFile:
    """The pod's mark. It is only worth something for seconds, so it is replaced whole but never synced to disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, mark: Mark) -> None:
        """Replaces the mark. Raises OSError."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_bytes(msgspec.json.encode(mark))
        fresh.replace(self._path)

    def read(self) -> Mark | None:
        """The mark, or None where there is none or it cannot be understood: then no pod is known to live."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Mark)
        except (OSError, msgspec.MsgspecError):
            return None

    def clear(self) -> None:
        """Takes the mark away, so that the unit need not wait until it is old. Never raises."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
