"""The grid: no drift, no burst, the same place after a restart, spread over the fleet."""

from hypothesis import given
from hypothesis import strategies as st

from agents.core.grid import Grid, spread


def test_points_do_not_drift_with_the_time_that_work_takes():
    grid, now, points = Grid(15.0, 4.0), 100.0, []
    for delay in (0.0, 3.0, 14.9, 0.2):
        point = grid.after(now)
        points.append(point)
        now = point + delay
    assert points == [109.0, 124.0, 139.0, 154.0]


def test_after_a_long_gap_there_is_one_turn_and_no_burst():
    grid = Grid(15.0)
    assert grid.after(30.0) == 45.0
    late = 45.0 + 3600.0
    assert grid.after(late) == late + 15.0
    assert grid.missed(30.0, late) == 240


def test_a_restart_keeps_the_place():
    grid = spread("n-aaaaaaaaaaaaaaaa", 15.0)
    before = grid.after(1000.0)
    assert spread("n-aaaaaaaaaaaaaaaa", 15.0).after(before - 0.001) == before


@given(st.floats(0.1, 3600), st.floats(0, 1e7), st.text(max_size=20))
def test_the_next_point_is_ahead_and_at_most_one_interval_away(interval, now, name):
    grid = spread(name, interval)
    point = grid.after(now)
    assert 0 <= grid.phase < interval
    assert now < point <= now + interval * (1 + 1e-6) + 1e-6


def test_a_fleet_that_boots_at_once_is_spread_evenly():
    phases = [spread(f"n-{i:016d}", 15.0).phase for i in range(7500)]
    per_second = [sum(second <= phase < second + 1 for phase in phases) for second in range(15)]
    assert min(per_second) > 400 and max(per_second) < 600
