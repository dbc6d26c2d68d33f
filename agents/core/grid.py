"""When to do what is done again and again: a fixed grid on the monotonic clock, shifted by an id. Pure.

The grid hangs on the clock and not on the start of the process, so it neither drifts with the length of the work
nor moves with a restart, and after a suspended machine or a late loop the next turn is the next point of the grid:
what was missed is missed, never done in a burst.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Points at `phase + n * interval` s of the monotonic clock; `0 <= phase < interval`."""

    interval: float
    phase: float = 0.0

    def after(self, now: float) -> float:
        """The first point later than `now`."""
        n = math.floor((now - self.phase) / self.interval) + 1
        point = self.phase + n * self.interval
        return point if point > now else self.phase + (n + 1) * self.interval

    def missed(self, previous: float, now: float) -> int:
        """How many points lie between the one served last and `now`, which is about to be served."""
        return max(0, round((now - previous) / self.interval) - 1)


def spread(identity: str, interval: float) -> Grid:
    """The identity's own grid: nodes that boot in the same second (a region's power is back) are spread over the
    whole interval, the same node always at the same place."""
    digest = hashlib.sha256(b"galley-phase\0" + identity.encode()).digest()
    return Grid(interval, interval * int.from_bytes(digest[:8], "big") / 2**64)
