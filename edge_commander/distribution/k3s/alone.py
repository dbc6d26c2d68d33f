"""One operation of k3s at a time on a node, whichever process asks. Touches a lock file beside the marker."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from agents.core.errors import Retryable


class Alone:
    """Within a process one waits for the other; what another process does is not waited for: Retryable.

    A root half goes on when its asker goes away, so a second one may be started meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Held until the block ends, or the process does."""
        async with self._one:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise Retryable(f"{self._path}: cannot be used: {error.strerror}") from None
            try:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Retryable(f"{self._path}: another operation is under way on this node") from None
                yield
            finally:
                os.close(lock)
