"""Which of two messages about the same thing is the newer one, when old ones may arrive late. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FUTURE_MS = 120_000
"""A stored time further ahead than this was a wrong clock's, and does not hold back what comes after it."""


@dataclass(frozen=True)
class Position:
    """Where a message stands: its outbox run, its number there, the node's clock when stored (Unix ms).

    `at`, Unix ms by the endpoint's clock: of one that arrives, when it was stored, None: it does not say (see
    stored_ms()); of one that is known, when it arrived.
    """

    run: str
    seq: int
    t: int
    at: int | None = None


def stored_ms(t: int, sent: int | None, now_ms: int) -> int | None:
    """When a message was stored, by the endpoint's clock: it is as old as the node's own clock makes it, however wrong
    that is. `sent`: see IngestRequest."""
    return None if sent is None else now_ms - max(0, sent - t)


def is_newer(new: Position, known: Position | None, now_ms: int) -> bool:
    """Within one run the number decides. Across runs (a reboot, another node) what was stored after the other had
    arrived, as a node's clock may have gone back meanwhile; and else the time."""
    if known is None:
        return True
    if new.run == known.run:
        return new.seq > known.seq
    if new.at is not None and known.at is not None and new.at >= known.at:
        return True
    return new.t >= known.t or known.t > now_ms + FUTURE_MS
