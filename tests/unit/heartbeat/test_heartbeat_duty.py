"""Who beats, the unit or the pod."""

import pytest

from heartbeat.duty import Mark, Step, choose, pod_lives
from heartbeat.settings import Mode

MARK = Mark(boot="b1", monotonic=100.0, interval=15.0)


@pytest.mark.parametrize(
    ("now", "boot", "lives"),
    [(100.0, "b1", True), (129.9, "b1", True), (130.0, "b1", False), (99.0, "b1", False), (110.0, "b2", False)],
)
def test_a_mark_is_worth_two_intervals_of_its_own_boot(now, boot, lives):
    assert pod_lives(MARK, boot, now, 15.0) is lives


def test_no_mark_no_pod():
    assert pod_lives(None, "b1", 1.0, 15.0) is False


def test_the_longer_interval_of_the_two_counts():
    assert pod_lives(MARK, "b1", 125.0, 2.0) is True
    assert pod_lives(Mark(boot="b1", monotonic=100.0, interval=2.0), "b1", 125.0, 15.0) is True


@pytest.mark.parametrize(
    ("mode", "holding", "alive", "step"),
    [
        (Mode.UNIT, False, False, Step.TAKE),
        (Mode.UNIT, True, False, Step.KEEP),
        (Mode.UNIT, True, True, Step.YIELD),
        (Mode.UNIT, False, True, Step.WAIT),
        (Mode.POD, False, False, Step.TAKE),
        (Mode.POD, False, True, Step.TAKE),
        (Mode.POD, True, False, Step.KEEP),
        (Mode.POD, True, True, Step.KEEP),
    ],
)
def test_each_case_has_its_step_and_says_why(mode, holding, alive, step):
    choice = choose(mode, holding=holding, pod_alive=alive)
    assert choice.step is step
    assert choice.why
