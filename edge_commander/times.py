"""The shell of timekeeper.py: the machine's clocks, the endpoint's word, and the last good time on disk."""

from __future__ import annotations

import contextlib
from pathlib import Path

from agents.core.errors import Retryable
from agents.core.ports import Clock
from edge_commander.memory import Memory
from edge_commander.reasons import Reason
from edge_commander.timekeeper import TimeKeeper

MILLIS_FROM = 10**11
"""A Unix time at least this large is in ms (in s it would be the year 5138)."""


class Times:
    """Which time it is. `heard` takes the endpoint's word."""

    def __init__(self, clock: Clock, memory: Memory, image_build_s: int) -> None:
        self._clock = clock
        self._memory = memory
        self._keeper = TimeKeeper(floor_ms=max(image_build_s * 1000, memory.last_good))

    def heard(self, server_time: int) -> None:
        """The endpoint named its time, Unix ms (or s, from an answer whose field says so)."""
        server_ms = server_time if server_time >= MILLIS_FROM else server_time * 1000
        now = self._clock.monotonic()
        self._keeper = self._keeper.heard(server_ms, now)
        good = self._keeper.to_record(self._clock.wall_ms(), now)
        if good is not None:
            with contextlib.suppress(Retryable):  # a full disk: the floor stays lower, the next word tries again
                self._memory.save_time(good)
                self._keeper = self._keeper.recorded(good)

    @property
    def confirmed(self) -> bool:
        """Whether the endpoint named its time since this process began."""
        return self._keeper.anchor is not None

    def now_ms(self) -> int:
        """The best guess of the true time, Unix ms."""
        return self._keeper.now_ms(self._clock.wall_ms(), self._clock.monotonic())

    def now_s(self) -> int:
        """The same in s."""
        return self.now_ms() // 1000

    def problem(self) -> Reason:
        """`waiting: clock`, or NOTHING."""
        return self._keeper.wall_problem(self._clock.wall_ms(), self._clock.monotonic())


def image_build(seconds: int, file: str | None) -> int:
    """The later of the setting and the file's first line, Unix s; a file that is absent or unreadable counts as 0."""
    if file is None:
        return seconds
    try:
        return max(seconds, int(Path(file).read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return seconds
