"""The real clock: kernel monotonic time, wall time and the event loop's sleep."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Clock port over the kernel's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Unix time in ms, as this machine believes it."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Waits; at once for zero or less."""
        await asyncio.sleep(max(0.0, seconds))
