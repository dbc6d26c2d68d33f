"""When something short-lived is renewed: at two thirds of its life, a little spread. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

RENEW_AT = 2 / 3
SPREAD = 0.05
"""Part of the life by which the renewal is earlier or later, so that a fleet does not come at once."""
MARGIN_SECONDS = 5.0
"""Nothing is handed out that ends sooner: it must survive its way to the endpoint."""


class Freshness(Enum):
    """What to do when somebody asks."""

    FRESH = "hand it out"
    DUE = "hand it out, and renew"
    OVER = "renew first"


@dataclass(frozen=True)
class Lease(Generic[T]):
    """A value with an end. `renew_at`, `ends_at`: monotonic s. Its text never holds the value."""

    value: T
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return f"Lease(renew_at={self.renew_at}, ends_at={self.ends_at})"

    def freshness(self, now: float) -> Freshness:
        """What to do with it at `now`, monotonic s."""
        if now >= self.ends_at - MARGIN_SECONDS:
            return Freshness.OVER
        return Freshness.DUE if now >= self.renew_at else Freshness.FRESH


def lease(value: T, *, asked_at: float, lifetime: float, spread: float) -> Lease[T]:
    """A value that was asked for at `asked_at` (monotonic s) and lives `lifetime` s; `spread` in [-1, 1]."""
    return Lease(
        value=value,
        renew_at=asked_at + lifetime * (RENEW_AT + SPREAD * spread),
        ends_at=asked_at + lifetime,
    )
