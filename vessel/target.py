"""Which revision the cluster is to be at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """`head`: the newest revision known; `applied`, `healthy`, `quarantined`: of the standing; `held`: the revision
    whose objects this process keeps now; `refused`: revisions refused, with the monotonic s from which on to try
    again (inf: never); `retry_at`: when the held one, which failed, may be tried again (inf: never)."""

    head: str
    applied: str
    healthy: str
    quarantined: str
    held: str
    refused: Mapping[str, float]
    retry_at: float = float("inf")


def choose(facts: Facts, now: float) -> str:
    """The revision to carry out now; empty when what is held is what is to be."""
    wanted = facts.head or facts.applied
    if wanted and wanted == facts.quarantined and facts.healthy:
        wanted = facts.healthy
    if wanted in facts.refused and now < facts.refused[wanted]:
        # Refused: what was applied before stays, and is kept from drifting.
        wanted = facts.applied if facts.applied not in facts.refused else ""
    if not wanted:
        return ""
    if wanted != facts.held:
        return wanted
    return wanted if now >= facts.retry_at else ""


def next_look(facts: Facts, now: float) -> float:
    """Seconds until the choice may be another without any event."""
    times = [at for at in (*facts.refused.values(), facts.retry_at) if at > now]
    return min(times, default=float("inf")) - now


def roll_back_to(revision: str, healthy: str) -> str:
    """Where to go from a revision that did not become healthy; empty when there is nowhere."""
    return healthy if healthy and healthy != revision else ""
