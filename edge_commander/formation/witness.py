"""Whether siblings have another time than this node. Pure.

A clock that is ahead is like any good one to itself, so where the endpoint cannot be asked the siblings are: where more
than half of them have another time, nothing that carries a date is made and nothing begun. Who of two is right nobody
can say, so one sibling alone decides nothing; more than half that lie can only delay, which they could anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.timekeeper import TOLERANCE_MS

Told = Mapping[str, int | None]
"""By sibling: how far its time was ahead of ours when it answered, ms; None: its certificate, which its own device
key signed and which lasts a day, is not valid by this node's time."""


def by_siblings(told: Told, others: int) -> Reason:
    """NOTHING, or `waiting: clock`. `others`: how many siblings the roster has, whether they answer or not."""
    apart = sum(said is None or abs(said) > TOLERANCE_MS for said in told.values())
    if 2 * apart <= others:
        return NOTHING
    return Reason(Why.CLOCK, f"{apart} of {others} siblings have another time than this machine")
