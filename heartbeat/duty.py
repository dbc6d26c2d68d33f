"""Who beats, the unit or the pod: what each does, from the pod's mark and the lock. Pure.

Both share the state directory. Who holds the lock there has the outbox, beats, sends, and owns the health
port. The pod renews a mark on each round; the unit yields while that mark is young, and takes over when it
grows old, so that a node whose pods are down still beats, and says by `via` that they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec

from heartbeat.settings import Mode, Pod

FRESH_INTERVALS = 2.0
"""A mark younger than so many intervals means that the pod lives (design page)."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The pod's sign of life: boot id and monotonic clock (s), so that no clock jump ages it."""

    v: int = 1
    boot: str
    monotonic: float
    interval: float


class Step(Enum):
    """What to do now."""

    TAKE = "take"
    KEEP = "keep"
    YIELD = "yield"
    WAIT = "wait"


@dataclass(frozen=True)
class Choice:
    """A step and, for people, why."""

    step: Step
    why: str


def pod_lives(mark: Mark | None, boot: str, now: float, interval: float) -> bool:
    """Whether the mark is of this boot and young enough; a mark from the future is an old one."""
    if mark is None or mark.boot != boot:
        return False
    age = now - mark.monotonic
    return 0 <= age < FRESH_INTERVALS * max(interval, mark.interval)


def choose(mode: Mode, *, holding: bool, pod_alive: bool) -> Choice:
    """The step for one of the two forms; `holding`: it has the lock."""
    if mode is Mode.POD:
        return Choice(Step.KEEP, "beating as pod") if holding else Choice(Step.TAKE, "waiting for the unit's lock")
    if pod_alive:
        return Choice(Step.YIELD if holding else Step.WAIT, "the pod beats; the unit stands by")
    return Choice(Step.KEEP, "beating as unit") if holding else Choice(Step.TAKE, "no pod beats")


def pod_seen(mode: Mode, pod: Pod, step: Step) -> bool | None:
    """Whether the pod that is expected beats, as the unit sees it; None where none is expected or the pod asks."""
    if mode is Mode.POD or pod is Pod.NONE:
        return None
    return step in (Step.YIELD, Step.WAIT)
