"""What the outbox gives up first, and the arithmetic of ranges."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contracts.ids import Stream
from agents.contracts.messages import KINDS
from agents.io.outbox import policy
from agents.io.outbox.policy import Bounds, Row

few = settings(max_examples=40, deadline=None)
kinds = st.sampled_from(sorted({kind for found in KINDS.values() for kind in found}))
ranges = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 8), kinds).map(lambda t: (t[0], t[0] + t[1], t[2])), max_size=12
)


def rows(*kinds_: str, size: int = 10) -> list[Row]:
    found = [Row(key=(1, seq), kind=kind, rank=policy.rank(kind), size=size) for seq, kind in enumerate(kinds_, 1)]
    return sorted(found, key=lambda row: (row.rank, row.key))


def test_every_kind_of_every_stream_has_a_rank() -> None:
    assert {kind for stream in Stream for kind in KINDS[stream]} == set(policy.RANKS)


def test_nothing_goes_while_the_bounds_hold() -> None:
    assert policy.evict(rows("beat", "beat"), 2, 20, Bounds(rows=2, bytes=20)) == []


def test_old_beats_go_before_new_ones_and_before_everything_of_value() -> None:
    held = rows("alert", "beat", "deployment", "beat", "state", "command-result")
    gone = policy.evict(held, 6, 60, Bounds(rows=4, bytes=1000))
    assert [row.key[1] for row in gone] == [2, 4]


def test_alerts_go_last() -> None:
    held = rows("alert", "deployment", "state", "beat", "command-result")
    gone = policy.evict(held, 5, 50, Bounds(rows=1, bytes=1000))
    assert [row.kind for row in gone] == ["beat", "state", "deployment", "command-result"]


def test_too_many_bytes_count_as_too_many_rows_do() -> None:
    gone = policy.evict(rows("beat", "beat", "beat", size=100), 3, 300, Bounds(rows=100, bytes=250))
    assert [row.key[1] for row in gone] == [1]


def test_an_eviction_frees_a_hundredth_more_but_never_of_a_better_rank() -> None:
    bounds = Bounds(rows=1000, bytes=10**9)
    gone = policy.evict(rows(*["beat"] * 1001), 1001, 10010, bounds)
    assert len(gone) == 11
    gone = policy.evict(rows(*["beat"] * 3, *["alert"] * 998), 1001, 10010, bounds)
    assert [row.kind for row in gone] == ["beat"] * 3


@few
@given(st.lists(kinds, max_size=60), st.integers(0, 60))
def test_what_stays_is_worth_at_least_what_went(held: list[str], most: int) -> None:
    before = rows(*held)
    gone = policy.evict(before, len(before), 10 * len(before), Bounds(rows=most, bytes=10**6))
    stays = [row for row in before if row not in gone]
    assert len(stays) <= most
    assert not gone or not stays or max(row.rank for row in gone) <= min(row.rank for row in stays)


@few
@given(ranges)
def test_merging_keeps_exactly_the_same_numbers(found: list[policy.Range]) -> None:
    disjoint = policy.merge(_disjoint(found))
    assert _numbers(disjoint) == _numbers(_disjoint(found))
    assert all(x[1] < y[0] for x, y in itertools.pairwise(disjoint))
    joined = policy.merge(_disjoint(found), limit=0)
    assert {n for n, _ in _numbers(joined)} == {n for n, _ in _numbers(disjoint)}
    assert all(x[1] + 1 < y[0] for x, y in itertools.pairwise(joined))


@few
@given(ranges, st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)).map(lambda t: (min(t), max(t))), max_size=6))
def test_subtracting_takes_exactly_the_holes(found: list[policy.Range], holes: list[tuple[int, int]]) -> None:
    disjoint = policy.merge(_disjoint(found))
    left = policy.subtract(disjoint, holes)
    assert _numbers(left) == {(n, k) for n, k in _numbers(disjoint) if not policy.covered(n, holes)}


def test_malformed_answers_settle_nothing() -> None:
    assert policy.settled(0, [(5, 3), (0, 4), (-1, 2)]) == []
    assert policy.settled(4, [(6, 6)]) == [(1, 4), (6, 6)]


def _disjoint(found: list[policy.Range]) -> list[policy.Range]:
    taken: set[int] = set()
    out: list[policy.Range] = []
    for a, b, kind in found:
        for n in range(a, b + 1):
            if n not in taken:
                taken.add(n)
                out.append((n, n, kind))
    return out


def _numbers(found: list[policy.Range]) -> set[tuple[int, str]]:
    return {(n, kind) for a, b, kind in found for n in range(a, b + 1)}
