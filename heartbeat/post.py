"""The state directory that unit and pod share: the pod's mark, and the outbox of the one on duty."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from heartbeat.duty import Mark

LOCK = "lock"
MARK = "pod.mark"


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
