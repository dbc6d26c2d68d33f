"""Settled ranges against a plain set, by any order of additions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_endpoint.rules.ranges import Ranges, ack_and_have, add, contains, missing

PIECE = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(PIECE, max_size=40), PIECE)
def test_ranges_are_a_set(pieces: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges: Ranges = []
    plain: set[int] = set()
    for first, last in pieces:
        assert missing(ranges, first, last) == _runs(set(range(first, last + 1)) - plain)
        ranges = add(ranges, first, last)
        plain |= set(range(first, last + 1))
    assert ranges == _runs(plain)
    assert [contains(ranges, n) for n in range(80)] == [n in plain for n in range(80)]
    assert missing(ranges, *asked) == _runs(set(range(asked[0], asked[1] + 1)) - plain)
    ack, have = ack_and_have(ranges)
    assert ack == next(n for n in range(100) if n + 1 not in plain)
    assert have == _runs({n for n in plain if n > ack})


def _runs(plain: set[int]) -> Ranges:
    found: Ranges = []
    for n in sorted(plain):
        if found and found[-1][1] == n - 1:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return found


def test_the_far_end_of_numbers_fits() -> None:
    top = 2**53 - 1
    ranges = add(add([], 1, top - 1), top, top)
    assert ack_and_have(ranges) == (top, [])
    assert contains(ranges, top)
