"""A token bucket: how long to wait after so many bytes, for a rate to hold. Pure."""

from __future__ import annotations


class TokenBucket:
    """`rate` in bytes/s; `burst`: bytes that may pass at once after a pause. Bytes are taken after they came, so the
    bucket may owe; the next then waits until that is paid."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Takes `count` bytes at `now` (monotonic s); the seconds to wait before any more are read."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate) - count
        self._at = max(self._at, now)
        return max(0.0, -self._tokens / self.rate)

    @property
    def piece(self) -> int:
        """Bytes to read at once: small enough that connections share the line evenly."""
        return int(min(65536, max(4096, self.rate / 16)))
