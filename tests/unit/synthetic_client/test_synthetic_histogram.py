"""Histograms: fixed bounds, and adding them is the same as counting together."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic_client.histogram import BOUNDS, Latencies, merge, quantile
from synthetic_client.tally import Kind, Tally

SECONDS = st.lists(st.floats(0, 500, allow_nan=False), max_size=50)


def filled(values):
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


def test_the_bounds_never_change():
    assert BOUNDS[:7] == (0.001, 0.0015, 0.0022, 0.0033, 0.0047, 0.0068, 0.01)
    assert BOUNDS[-1] == 100.0 and len(BOUNDS) == 31
    assert all(1 < b / a <= 1.52 for a, b in itertools.pairwise(BOUNDS))


def test_a_bound_belongs_to_its_own_bucket():
    wire = filled([0.001, 0.00101, 100.0, 100.1]).wire()
    assert wire.buckets[0] == 1 and wire.buckets[1] == 1 and wire.buckets[-2] == 1 and wire.buckets[-1] == 1


@given(SECONDS, SECONDS)
def test_merging_equals_counting_together(first, second):
    merged = merge([filled(first).wire(), filled(second).wire()])
    together = filled(first + second).wire()
    assert merged.buckets == together.buckets and merged.count == together.count and merged.max == together.max
    assert merged.sum == pytest.approx(together.sum)


@given(SECONDS.filter(bool), st.floats(0.01, 1))
def test_a_quantile_is_an_upper_bound_within_a_bucket(values, q):
    answer = quantile(filled(values).wire(), q)
    rank = max(1, -(-q * len(values) // 1))
    exact = sorted(values)[int(rank) - 1]
    assert answer >= exact * (1 - 1e-9)
    assert exact > 100 or answer <= max(exact * 1.53, 0.001)


def test_other_bounds_are_refused():
    other = filled([1.0]).wire()
    other = type(other)(bounds=[1.0], buckets=[1, 0], sum=1.0, count=1, max=1.0)
    with pytest.raises(ValueError, match="bounds"):
        merge([filled([1.0]).wire(), other])
    with pytest.raises(ValueError, match="nothing"):
        merge([])


def test_quantile_of_nothing_is_none():
    assert quantile(filled([]).wire(), 0.5) is None


def test_a_tally_counts_by_kind_and_a_window_can_be_given_back():
    tally = Tally("s", "http")
    tally.success(0.2)
    tally.failure(Kind.TIMEOUT, "no end within 1 s")
    tally.failure(Kind.STATUS, "HTTP 500, wanted 200")
    window = tally.take()
    assert tally.result().ok == 0 and tally.result().errors == {} and tally.result().latency.count == 0
    tally.failure(Kind.STATUS, "HTTP 502, wanted 200")
    tally.give_back(window)
    result = tally.result()
    assert (result.ok, result.failed, result.latency.count) == (1, 3, 1)
    assert result.errors == {"status": 2, "timeout": 1}
    assert result.error == "status: HTTP 502, wanted 200"
