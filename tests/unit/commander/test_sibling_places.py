"""Where a sibling is tried, in which order, and how little a liar can make of it."""

from __future__ import annotations

from edge_commander.siblings.places import HINTS_PER_CALL, Past, Place, learnt, to_try

ROSTER, TRUE, LIE, LIE2, LIE3 = (Place(f"10.0.0.{number}", 9411) for number in range(1, 6))


def test_the_rosters_place_is_first_and_alone_where_hints_say_the_same() -> None:
    assert to_try(ROSTER, [ROSTER], Past(), 0.0) == (ROSTER,)
    assert to_try(ROSTER, [TRUE], Past(), 0.0) == (ROSTER, TRUE)
    assert to_try(None, [TRUE], Past(), 0.0) == (TRUE,)
    assert to_try(None, [], Past(), 0.0) == ()


def test_a_call_tries_few_hints_however_many_there_are() -> None:
    assert len(to_try(ROSTER, [Place(f"10.1.0.{n}", 9411) for n in range(200)], Past(), 0.0)) == 1 + HINTS_PER_CALL


def test_what_a_member_proved_goes_first_until_it_is_found_elsewhere() -> None:
    past = learnt(Past(), ROSTER, [TRUE], failed=[ROSTER], worked=TRUE, now=0.0)
    assert past.proven == TRUE and to_try(ROSTER, [TRUE], past, 1.0) == (TRUE, ROSTER)
    assert to_try(ROSTER, [], past, 1.0) == (TRUE, ROSTER)  # whoever ends the announcements changes nothing
    down = learnt(past, ROSTER, [TRUE], failed=[TRUE, ROSTER], worked=None, now=1.0)
    assert down == past
    back = learnt(down, ROSTER, [TRUE], failed=[TRUE], worked=ROSTER, now=2.0)
    assert back == Past()


def test_a_lie_goes_to_the_end_and_the_truth_among_lies_is_found_in_two_rounds() -> None:
    hints, past, now, attempts = [LIE, LIE2, LIE3, TRUE], Past(), 0.0, 0
    for _ in range(2):
        places = to_try(ROSTER, hints, past, now)
        assert places[0] == ROSTER
        failed = list(places[: places.index(TRUE)] if TRUE in places else places)
        attempts += len(failed) - 1
        past = learnt(past, ROSTER, hints, failed=failed, worked=TRUE if TRUE in places else None, now=now)
        now = max(now, past.again_at)
    assert past.proven == TRUE and attempts == 3


def test_lies_cost_two_connections_a_minute_and_never_the_rosters_place() -> None:
    past, now, lies = Past(), 0.0, 0
    for second in range(3600):
        now = float(second)
        hints = [Place(f"10.{second % 200}.0.{n}", 9411) for n in range(4)]  # new ones each time
        places = to_try(ROSTER, hints, past, now)
        assert places[0] == ROSTER
        lies += len(places) - 1
        past = learnt(past, ROSTER, hints, failed=places, worked=None, now=now)
        assert len(past.failures) <= len(hints)
    assert lies <= 2 * 3600 / 40
    well = learnt(past, ROSTER, hints, failed=[], worked=ROSTER, now=now)
    assert to_try(ROSTER, hints, well, now)[0] == ROSTER and well.proven is None


def test_a_lie_that_is_told_no_more_is_forgotten() -> None:
    past = learnt(Past(), None, [LIE, LIE2], failed=[LIE, LIE2], worked=None, now=0.0)
    assert dict(past.failures) == {LIE: 1, LIE2: 1} and to_try(None, [LIE], past, 0.5) == ()
    assert dict(learnt(past, None, [LIE2], failed=[], worked=None, now=9.0).failures) == {LIE2: 1}
