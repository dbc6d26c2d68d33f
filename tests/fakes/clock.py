"""A clock that tests turn: `advance` wakes sleepers in order of their deadlines, and nothing sleeps for real."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class VirtualClock:
    """Clock port. Time starts at 1000 s monotonic and 1 700 000 000 000 ms wall."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset_ms = 1_700_000_000_000 - 1_000_000
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000) + self.wall_offset_ms

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    async def settle(self) -> None:
        """Lets every task run until it waits: until two rounds found nothing else that could run, at most 50."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        idle = 0
        for _ in range(50):
            await asyncio.sleep(0)
            idle = 0 if ready else idle + 1
            if idle == 2:
                return

    async def advance(self, seconds: float) -> None:
        """Turns the clock, stopping at each deadline on the way."""
        end = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, future = heapq.heappop(self._sleepers)
            self.now = max(self.now, deadline)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.now = end
        await self.settle()
