"""Where to try a sibling, and in which order: the roster's address, then hints of the LAN, few and seldom. Pure.

A hint may be anybody's. It costs a connection and no more: whoever answers proves by the roster's key that it is that
member, or is put at the end. However many lies are told, the roster's address is tried in each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agents.core.backoff import Backoff

HINTS_PER_CALL = 2
_PATIENCE = Backoff(base=2.0, cap=60.0)


@dataclass(frozen=True)
class Place:
    """An IP address and a TCP port."""

    address: str
    port: int


@dataclass(frozen=True)
class Past:
    """What earlier calls of one member taught. `proven`: a hint at which it was; `failures`: by hint, how often it was
    not; `again_at`: monotonic s before which no hint is tried."""

    proven: Place | None = None
    failures: Mapping[Place, int] = field(default_factory=dict)
    backoff: Backoff = _PATIENCE
    again_at: float = float("-inf")


def to_try(roster: Place | None, hints: Sequence[Place], past: Past, now: float) -> tuple[Place, ...]:
    """The places to try in one call, in this order, at most 2 + HINTS_PER_CALL.

    A hint that the member proved comes first: while the roster is wrong, each call would wait for it in vain.
    """
    sure = [place for place in (past.proven, roster) if place is not None]
    if now < past.again_at:
        return tuple(dict.fromkeys(sure))
    rest = [place for place in hints if place not in sure]
    rest.sort(key=lambda place: past.failures.get(place, 0))
    return tuple(dict.fromkeys([*sure, *rest[:HINTS_PER_CALL]]))


def learnt(
    past: Past,
    roster: Place | None,
    hints: Sequence[Place],
    *,
    failed: Sequence[Place],
    worked: Place | None,
    now: float,
) -> Past:
    """What is known after a call. `failed`: no connection to that member came about there; `worked`: it did there.

    What a member proved is kept until it is found elsewhere.
    """
    counted = {place: n for place, n in past.failures.items() if place in hints}
    tried = [place for place in failed if place in hints and place not in (roster, past.proven)]
    counted |= {place: counted.get(place, 0) + 1 for place in tried}
    if worked is not None:
        counted.pop(worked, None)
        return Past(proven=None if worked == roster else worked, failures=counted)
    if not tried:
        return replace(past, failures=counted)
    backoff = past.backoff.failed()
    return replace(past, failures=counted, backoff=backoff, again_at=now + backoff.delay(lambda a, b: (a + b) / 2))
