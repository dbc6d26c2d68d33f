"""How long to wait before the next try: exponential with full jitter, bounded. Pure.

Source of the rule: "Exponential Backoff And Jitter" (full jitter), as used by many queue clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Backoff:
    """State of one retry loop. `base`, `cap` in s; `tries` failed so far."""

    base: float = 0.5
    cap: float = 60.0
    tries: int = 0

    def failed(self) -> Backoff:
        """The state after one more failure."""
        return replace(self, tries=self.tries + 1)

    def succeeded(self) -> Backoff:
        """The state after a success."""
        return replace(self, tries=0)

    def delay(self, uniform: Callable[[float, float], float], retry_after: float | None = None) -> float:
        """Seconds to wait: between half and the whole of the bound, at least `retry_after`, 0 when nothing failed."""
        if self.tries == 0:
            return 0.0
        bound = min(self.cap, self.base * 2 ** min(self.tries - 1, 30))
        return max(uniform(bound / 2, bound), min(retry_after or 0.0, self.cap * 10))
