"""Sets of sequence numbers as ascending, inclusive, disjoint ranges: what is settled, and what is not yet. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Range = tuple[int, int]
Ranges = list[Range]


def contains(ranges: Ranges, seq: int) -> bool:
    """Whether `seq` lies in one of the ranges."""
    index = bisect_right(ranges, (seq, 2**63)) - 1
    return index >= 0 and ranges[index][1] >= seq


def missing(ranges: Ranges, first: int, last: int) -> Ranges:
    """The parts of `first..last` that no range holds."""
    found: Ranges = []
    at = first
    index = max(0, bisect_right(ranges, (first, 2**63)) - 1)
    while index < len(ranges) and ranges[index][0] <= last:
        start, end = ranges[index]
        index += 1
        if end < at:
            continue
        if start > at:
            found.append((at, start - 1))
        at = max(at, end + 1)
    if at <= last:
        found.append((at, last))
    return found


def parts_to_add(ranges: Ranges, wanted: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """What of the wanted ranges no range holds yet, each number once, ascending: one pass, however many overlap.

    Where two overlap, the one that begins first keeps its kind for the numbers of both.
    """
    found: list[tuple[int, int, str]] = []
    taken = 0
    for first, last, kind in sorted(wanted):
        if last > taken:
            found += [(*part, kind) for part in missing(ranges, max(first, taken + 1), last)]
            taken = last
    return found


def union(ranges: Ranges, more: Iterable[Range]) -> Ranges:
    """The ranges and these, in any order, as one: touching ranges become one. One pass, however many there are."""
    found: Ranges = []
    for first, last in sorted([*ranges, *more]):
        if found and first <= found[-1][1] + 1:
            if last > found[-1][1]:
                found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def ack_and_have(ranges: Ranges) -> tuple[int, Ranges]:
    """`ack`: all from 1 up to it is settled (0: none). `have`: the ranges above it."""
    if ranges and ranges[0][0] == 1:
        return ranges[0][1], ranges[1:]
    return 0, list(ranges)
