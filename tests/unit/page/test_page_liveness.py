"""Alive, late, silent: at the very ms, after a start, and what the timer must wake for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_endpoint.page.liveness import Liveness, judge, late_at, next_change, silent_at

BEAT = 1_000_000
LONG_AGO = 0


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (0, Liveness.ALIVE),
        (29_999, Liveness.ALIVE),
        (30_000, Liveness.LATE),
        (64_999, Liveness.LATE),
        (65_000, Liveness.SILENT),
        (10**9, Liveness.SILENT),
    ],
)
def test_a_node_that_beats_every_15_s(age_ms: int, expected: Liveness) -> None:
    assert judge(BEAT, 15.0, BEAT + age_ms, LONG_AGO) is expected


def test_the_demos_interval_of_2_s_is_silent_after_13() -> None:
    assert judge(BEAT, 2.0, BEAT + 12_999, LONG_AGO) is Liveness.LATE
    assert judge(BEAT, 2.0, BEAT + 13_000, LONG_AGO) is Liveness.SILENT


def test_a_node_never_heard_is_not_called_silent() -> None:
    assert judge(None, 2.0, 10**12, LONG_AGO) is Liveness.NEVER


def test_after_a_start_nobody_is_silent_before_it_had_the_time_to_beat() -> None:
    started = BEAT + 3_600_000
    assert judge(BEAT, 15.0, started, started) is Liveness.LATE
    assert judge(BEAT, 15.0, started + 64_999, started) is Liveness.LATE
    assert judge(BEAT, 15.0, started + 65_000, started) is Liveness.SILENT


def test_a_beat_from_the_clocks_future_is_alive() -> None:
    assert judge(BEAT + 5_000, 2.0, BEAT, LONG_AGO) is Liveness.ALIVE


@given(
    beat=st.integers(0, 10**7),
    interval=st.floats(0.1, 900),
    after=st.integers(0, 10**7),
    started=st.integers(0, 2 * 10**7),
)
def test_the_timer_wakes_exactly_when_the_answer_changes(beat: int, interval: float, after: int, started: int) -> None:
    now = beat + after
    due = next_change(beat, interval, now, started)
    verdict = judge(beat, interval, now, started)
    if due is None:
        assert all(judge(beat, interval, now + step, started) is verdict for step in (1, 10**8, 10**9))
    else:
        assert due > now
        assert judge(beat, interval, due - 1, started) is verdict
        assert judge(beat, interval, due, started) is not verdict


@given(beat=st.integers(0, 10**12), interval=st.floats(0.1, 3600))
def test_late_comes_before_silent(beat: int, interval: float) -> None:
    assert beat < late_at(beat, interval) < silent_at(beat, interval)
