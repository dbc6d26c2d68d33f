"""Each loop's own deadline, the condition of the watchdog: a loop that misses its own is dead, whoever else lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from agents.core.ports import Clock

FIRST = 60.0
"""Seconds within which a loop must have called for the first time."""
GRACE = 20.0
"""Seconds that a turn of work may take after `sleep`, unless the loop says more by `expect`."""


class Pulse:
    """One loop's sign of life, on the daemon's clock."""

    def __init__(self, name: str, clock: Clock, stopping: asyncio.Event) -> None:
        self.name = name
        self._clock = clock
        self._stopping = stopping
        self._told = False
        self._deadline: float | None = clock.monotonic() + FIRST

    def expect(self, seconds: float) -> None:
        """`I shall call again within so many seconds.`"""
        self._deadline = self._clock.monotonic() + seconds

    def done(self) -> None:
        """The loop has ended; nothing more is expected of it."""
        self._deadline = None

    def overdue(self) -> float:
        """Seconds past the deadline; 0 or less while it is met."""
        return 0.0 if self._deadline is None else self._clock.monotonic() - self._deadline

    @property
    def stopping(self) -> bool:
        """True once the daemon is to end."""
        return self._stopping.is_set()

    async def sleep(self, seconds: float, *, grace: float = GRACE) -> None:
        """Sleeps in clock time and sets `expect(seconds + grace)`; returns early, once, when the daemon is to end.

        Later calls sleep to their end, so that a loop that does not look at `stopping` cannot spin.
        """
        self.expect(seconds + grace)
        if self._told:
            await self._clock.sleep(seconds)
            return
        await self._either(self._clock.sleep(seconds))

    async def wait(self, event: asyncio.Event, seconds: float, *, grace: float = GRACE) -> bool:
        """Waits for the event, at most so long; True when it is set. Ends early as `sleep` does."""
        if event.is_set():
            self.expect(seconds + grace)
        else:
            await self.until(event.wait(), seconds, grace=grace)
        return event.is_set()

    async def until(self, awaitable: Awaitable[object], seconds: float, *, grace: float = GRACE) -> None:
        """Waits until the awaitable is done, at most so long; then it is cancelled. Ends early as `sleep` does."""
        self.expect(seconds + grace)
        waiter = asyncio.ensure_future(awaitable)
        await self._either(self._clock.sleep(seconds), waiter)
        if waiter.done() and not waiter.cancelled():
            waiter.result()

    async def _either(self, sleeping: Awaitable[None], *others: asyncio.Future[Any]) -> None:
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(sleeping), *others]
        if not self._told:
            tasks.append(asyncio.ensure_future(self._stopping.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        self._told = self._stopping.is_set()
