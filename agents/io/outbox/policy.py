"""What the outbox gives up first when it is full, and what it sends first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SUPERSEDED = 0
"""Rank of what a newer message of its kind has replaced."""
LATEST = frozenset({"facts", "challenge", "overlay"})
"""Kinds of which only the newest matters."""
RANKS = {
    "beat": 1,
    "synthetic": 2,
    "facts": 3,
    "overlay": 3,
    "challenge": 4,
    "state": 4,
    "deployment": 5,
    "command-result": 6,
    "alert": 7,
}
"""Value by kind: the lowest goes first, the oldest within a rank. An unknown kind counts as a deployment."""
URGENT = 4
"""From this rank on, messages are sent first, oldest first; below it the newest first."""
SLACK = 100
"""An eviction frees one in so many of the bounds besides what it must, so that not each put evicts."""


@dataclass(frozen=True)
class Row:
    """A stored message, as eviction sees it. `key`: number of the run and sequence; `size` in bytes."""

    key: tuple[int, int]
    kind: str
    rank: int
    size: int


@dataclass(frozen=True)
class Bounds:
    """What the outbox may hold."""

    rows: int
    bytes: int

    def over(self, rows: int, size: int) -> bool:
        """True when something must go."""
        return rows > self.rows or size > self.bytes


def rank(kind: str) -> int:
    """The value of a new message."""
    return RANKS.get(kind, RANKS["deployment"])


def evict(candidates: Iterable[Row], rows: int, size: int, bounds: Bounds) -> list[Row]:
    """Those that must go, the least valuable first. `candidates` in order of rank, then age; `rows`, `size`: held now.

    Nothing goes while the bounds hold; past them, also a little more (SLACK), though never of a rank that the bounds
    alone would have kept.
    """
    chosen: list[Row] = []
    if not bounds.over(rows, size):
        return chosen
    low = Bounds(rows=bounds.rows - bounds.rows // SLACK, bytes=bounds.bytes - bounds.bytes // SLACK)
    last = -1
    for row in candidates:
        must = bounds.over(rows, size)
        if not must and (row.rank > last or not low.over(rows, size)):
            break
        if must:
            last = row.rank
        chosen.append(row)
        rows -= 1
        size -= row.size
    return chosen


Range = tuple[int, int, str]
"""First and last sequence number, inclusive, and the kind of the messages."""

MIXED = "mixed"
"""Kind of a range in which several kinds were dropped."""


def merge(ranges: Iterable[Range], limit: int | None = None) -> list[Range]:
    """Ranges in order, neighbours of one kind joined; past `limit` ranges, neighbours of any kind too."""
    merged: list[Range] = []
    for a, b, kind in sorted(ranges):
        if merged and merged[-1][1] + 1 >= a and merged[-1][2] == kind:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]), kind)
        else:
            merged.append((a, b, kind))
    if limit is None or len(merged) <= limit:
        return merged
    joined: list[Range] = []
    for a, b, kind in merged:
        if joined and joined[-1][1] + 1 >= a:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]), kind if kind == joined[-1][2] else MIXED)
        else:
            joined.append((a, b, kind))
    return joined


def subtract(ranges: Iterable[Range], holes: Sequence[tuple[int, int]]) -> list[Range]:
    """The ranges without the numbers in `holes` (inclusive pairs)."""
    left = list(ranges)
    for first, last in holes:
        after: list[Range] = []
        for a, b, kind in left:
            if last < a or first > b:
                after.append((a, b, kind))
                continue
            if a < first:
                after.append((a, first - 1, kind))
            if b > last:
                after.append((last + 1, b, kind))
        left = after
    return left


def settled(ack: int, have: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges that an answer settles. Malformed ranges settle nothing."""
    return [(1, ack)] * (ack > 0) + [(a, b) for a, b in have if 0 < a <= b]


def covered(seq: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """True when the number lies in one of the ranges."""
    return any(a <= seq <= b for a, b in ranges)
