"""Is a node alive, late or silent, by the time since the cloud received its last beat. Pure.

The rule is the first half of the verdict engine's: four missed beats and 5 s of grace. Why a node is silent is not
judged here.
"""

from __future__ import annotations

from enum import StrEnum

LATE_INTERVALS = 2.0
SILENT_INTERVALS = 4.0
GRACE_SECONDS = 5.0


class Liveness(StrEnum):
    """In order of worry."""

    ALIVE = "alive"
    NEVER = "never"  # no beat yet
    LATE = "late"
    SILENT = "silent"


def judge(beat_ms: int | None, interval: float, now_ms: int, started_ms: int) -> Liveness:
    """`beat_ms`: receipt of the last beat, Unix ms; `interval` of its beats in s.

    `started_ms`: since when this endpoint listens. Nobody is called silent for what it could not have received: a
    node that was not heard since then is late at most, until it had the time to be.
    """
    if beat_ms is None:
        return Liveness.NEVER
    if now_ms < silent_at(beat_ms, interval):
        return Liveness.ALIVE if now_ms < late_at(beat_ms, interval) else Liveness.LATE
    return Liveness.SILENT if now_ms >= silent_at(max(beat_ms, started_ms), interval) else Liveness.LATE


def late_at(beat_ms: int, interval: float) -> int:
    """When a node whose last beat was received then begins to be late, Unix ms."""
    return beat_ms + round(LATE_INTERVALS * interval * 1000)


def silent_at(beat_ms: int, interval: float) -> int:
    """When it begins to be silent, Unix ms."""
    return beat_ms + round((SILENT_INTERVALS * interval + GRACE_SECONDS) * 1000)


def next_change(beat_ms: int, interval: float, now_ms: int, started_ms: int) -> int | None:
    """When `judge` answers differently unless a beat comes; None: never."""
    for moment in (late_at(beat_ms, interval), silent_at(beat_ms, interval), silent_at(started_ms, interval)):
        if moment > now_ms and judge(beat_ms, interval, moment, started_ms) is not judge(
            beat_ms, interval, now_ms, started_ms
        ):
            return moment
    return None
