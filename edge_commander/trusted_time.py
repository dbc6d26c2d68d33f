"""The clock gate: nothing that carries a date is made while this machine's clock is not to be trusted. Pure."""

from __future__ import annotations

from typing import Protocol

from agents.core.errors import Retryable
from edge_commander.reasons import NOTHING, Reason


class Time(Protocol):
    """Which time it is, and whether certificates may be made by it (edge_commander/times.py)."""

    def now_ms(self) -> int:
        """Unix ms."""

    def problem(self) -> Reason:
        """`waiting: clock`, or NOTHING."""


class ClockNotTrusted(Retryable):
    """Nothing is made now; `reason` is what the node's state shows."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"no certificate is made: {reason.text}")
        self.reason = reason


def trusted_ms(time: Time) -> int:
    """The time, Unix ms; raises ClockNotTrusted (a wrong clock poisons certificates: k3s issue 6152)."""
    if (reason := time.problem()) != NOTHING:
        raise ClockNotTrusted(reason)
    return time.now_ms()
