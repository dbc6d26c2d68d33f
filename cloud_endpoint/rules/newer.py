"""Which of two messages about the same thing is the newer one, when old ones may arrive late. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FUTURE_MS = 120_000
"""A stored time further ahead than this was a wrong clock's, and does not hold back what comes after it."""


@dataclass(frozen=True)
class Position:
    """Where a message stands: its outbox run, its number there, the node's clock when stored (Unix ms)."""

    run: str
    seq: int
    t: int


def is_newer(new: Position, known: Position | None, now_ms: int) -> bool:
    """Within one run the number decides; across runs (a reboot, another node) the time does."""
    if known is None:
        return True
    if new.run == known.run:
        return new.seq > known.seq
    return new.t >= known.t or known.t > now_ms + FUTURE_MS
