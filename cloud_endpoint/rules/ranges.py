"""Sets of sequence numbers as ascending, inclusive, disjoint ranges: what is settled, and what is not yet. Pure."""

from __future__ import annotations

from bisect import bisect_right

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
    for start, end in ranges[index:]:
        if start > last:
            break
        if end < at:
            continue
        if start > at:
            found.append((at, start - 1))
        at = max(at, end + 1)
    if at <= last:
        found.append((at, last))
    return found


def add(ranges: Ranges, first: int, last: int) -> Ranges:
    """The ranges with `first..last` added; touching ranges become one."""
    low = bisect_right(ranges, (first, 2**63)) - 1
    if low < 0 or ranges[low][1] < first - 1:
        low += 1
    high = low
    while high < len(ranges) and ranges[high][0] <= last + 1:
        first = min(first, ranges[high][0])
        last = max(last, ranges[high][1])
        high += 1
    return [*ranges[:low], (first, last), *ranges[high:]]


def ack_and_have(ranges: Ranges) -> tuple[int, Ranges]:
    """`ack`: all from 1 up to it is settled (0: none). `have`: the ranges above it."""
    if ranges and ranges[0][0] == 1:
        return ranges[0][1], ranges[1:]
    return 0, list(ranges)
