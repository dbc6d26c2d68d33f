"""Which time it is, on a machine whose clock may be wrong: a floor, and an anchor to the endpoint's time. Pure.

A wrong clock poisons certificates (k3s issue 6152), so it is a visible state and never silently used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_commander.reasons import NOTHING, Reason, Why

TOLERANCE_MS = 5 * 60 * 1000
"""How far the wall clock may be from the endpoint's before the node says so."""
RECORD_MS = 10 * 60 * 1000
"""The last good time on disk is at most this much behind (one small write each)."""
LEAP_MS = 400 * 24 * 3600 * 1000
"""A time further ahead of all this machine knows is used while the endpoint says so, but never put on disk: a
mistake there would stay for ever."""
LATEST_MS = 253_370_764_800_000
"""The year 9999 begins, Unix ms: what ends after it has no date in a certificate (RFC 5280, 4.1.2.5) nor in Python."""


@dataclass(frozen=True)
class Anchor:
    """The endpoint's time at one moment: Unix ms, and the monotonic clock in s then."""

    server_ms: int
    monotonic: float


@dataclass(frozen=True)
class TimeKeeper:
    """`floor_ms`: no time before it can be true: the later of image build and the last good time on disk."""

    floor_ms: int
    anchor: Anchor | None = None

    def heard(self, server_ms: int, monotonic: float) -> TimeKeeper:
        """The endpoint named its time; what is below the floor is not believed."""
        if server_ms < self.floor_ms:
            return self
        return replace(self, anchor=Anchor(server_ms, monotonic))

    def now_ms(self, wall_ms: int, monotonic: float) -> int:
        """The best guess, Unix ms: by the anchor where there is one, else the wall clock, never below the floor."""
        if self.anchor is not None:
            return self.anchor.server_ms + round((monotonic - self.anchor.monotonic) * 1000)
        return max(wall_ms, self.floor_ms)

    def to_record(self, wall_ms: int, monotonic: float) -> int | None:
        """A new last good time to put on disk, Unix ms, or None: only the endpoint's word counts as good."""
        if self.anchor is None:
            return None
        now = self.now_ms(wall_ms, monotonic)
        if now > min(max(wall_ms, self.floor_ms) + LEAP_MS, LATEST_MS):
            return None
        return now if now - self.floor_ms >= RECORD_MS else None

    def recorded(self, floor_ms: int) -> TimeKeeper:
        """With the new floor, after it reached the disk."""
        return replace(self, floor_ms=max(self.floor_ms, floor_ms))

    def wall_problem(self, wall_ms: int, monotonic: float) -> Reason:
        """NOTHING when the machine's clock may be used (certificates, TLS), else `waiting: clock` and why."""
        if self.now_ms(wall_ms, monotonic) >= LATEST_MS:
            return Reason(Why.CLOCK, "the time would be past the year 9998, which nothing can be dated in")
        if self.anchor is not None:
            off = wall_ms - self.now_ms(wall_ms, monotonic)
            if abs(off) > TOLERANCE_MS:
                side = "ahead of" if off > 0 else "behind"
                return Reason(Why.CLOCK, f"this machine's clock is {side} the endpoint's")
            return NOTHING
        if wall_ms < self.floor_ms:
            return Reason(Why.CLOCK, "this machine's clock is earlier than it can be")
        return NOTHING
