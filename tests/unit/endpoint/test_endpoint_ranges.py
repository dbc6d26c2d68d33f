"""Settled ranges against a plain set, by any order of additions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_endpoint.rules.ranges import Ranges, ack_and_have, contains, missing, parts_to_add, union

PIECE = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(PIECE, max_size=40), PIECE)
def test_ranges_are_a_set(pieces: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges: Ranges = []
    plain: set[int] = set()
    for first, last in pieces:
        assert missing(ranges, first, last) == _runs(set(range(first, last + 1)) - plain)
        ranges = union(ranges, [(first, last)])
        plain |= set(range(first, last + 1))
    assert ranges == _runs(plain)
    assert [contains(ranges, n) for n in range(80)] == [n in plain for n in range(80)]
    assert missing(ranges, *asked) == _runs(set(range(asked[0], asked[1] + 1)) - plain)
    ack, have = ack_and_have(ranges)
    assert ack == next(n for n in range(100) if n + 1 not in plain)
    assert have == _runs({n for n in plain if n > ack})


@given(st.lists(PIECE, max_size=20), st.lists(PIECE, max_size=40))
def test_many_ranges_at_once_are_the_same_set(there: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    ranges = union([], there)
    plain = {n for first, last in there for n in range(first, last + 1)}
    wanted = {n for first, last in more for n in range(first, last + 1)}
    parts = parts_to_add(ranges, [(first, last, f"k{first}") for first, last in more])
    assert [n for first, last, _ in parts for n in range(first, last + 1)] == sorted(wanted - plain)
    assert all((int(kind[1:]), first) in {(a, n) for a, b in more for n in range(a, b + 1)} for first, _, kind in parts)
    assert union(ranges, [(first, last) for first, last, _ in parts]) == _runs(plain | wanted) == union(ranges, more)


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
    ranges = union(union([], [(1, top - 1)]), [(top, top)])
    assert ack_and_have(ranges) == (top, [])
    assert contains(ranges, top)
