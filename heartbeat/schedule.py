"""When to beat: a fixed grid on the monotonic clock, shifted by the node's id. Pure.

The grid hangs on the clock and not on the start of the process, so it neither drifts with the length of a
beat nor moves with a restart, and after a suspended machine or a late loop the next beat is the next point
of the grid: what was missed is missed, never sent in a burst.
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


def spread(node: str, interval: float) -> Grid:
    """The node's own grid: nodes that boot in the same second (a region's power is back) beat spread over the
    whole interval, the same node always at the same place."""
    digest = hashlib.sha256(b"galley-beat-phase\0" + node.encode()).digest()
    return Grid(interval, interval * int.from_bytes(digest[:8], "big") / 2**64)
