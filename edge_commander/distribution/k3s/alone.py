"""One operation of k3s at a time on a node, whichever process asks. Touches a lock file beside the marker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from agents.core.errors import Retryable
from agents.io.lock import Lock


class Alone:
    """Within a process one waits for the other; what another process does is not waited for: Retryable.

    A root half goes on when its asker goes away, so a second one may be started meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock(path)
        self._one = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Held until the block ends, or the process does."""
        async with self._one:
            try:
                self._lock.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not self._lock.take():
                    raise Retryable(f"{self._lock.path}: another operation is under way on this node")
            except OSError as error:
                raise Retryable(f"{self._lock.path}: cannot be used: {error.strerror}") from None
            try:
                yield
            finally:
                self._lock.release()
