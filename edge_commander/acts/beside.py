"""Work that takes minutes, beside the loop that asks how far it is: the loop's watchdog must not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edge_commander.verbs import Outcome

SOON_SECONDS = 5.0
"""What ends within that is answered at once."""


class Beside:
    """One piece of work at a time, known by its command's id. What a crash cuts is begun anew by who asks."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Outcome] | None = None
        self._key = ""

    async def outcome(self, key: str, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome | None:
        """What came of it; None while it is under way. Raises what the work raised."""
        if self._task is None or self._key != key:
            await self.aclose()
            self._key, self._task = key, asyncio.create_task(work(), name=f"command {key}")
        await asyncio.wait({self._task}, timeout=SOON_SECONDS)
        if not self._task.done():
            return None
        task, self._task = self._task, None
        return task.result()

    async def aclose(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
