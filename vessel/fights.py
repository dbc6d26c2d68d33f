"""Who keeps changing what Vessel repairs: repairs are at once at first, then ever rarer, for each object. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vessel.inventory import Key

_FREE = 5
"""Repairs of one object within the window that are made at once."""
_WINDOW = 60.0
_CAP = 300.0


@dataclass(frozen=True)
class _Fight:
    repairs: int
    last: float
    not_before: float


class Fights:
    """Repairs by object. Times in monotonic s."""

    def __init__(self) -> None:
        self._fights: dict[Key, _Fight] = {}

    def wait(self, key: Key, now: float) -> float:
        """Seconds until the object may be repaired."""
        fight = self._fights.get(key)
        return max(0.0, fight.not_before - now) if fight else 0.0

    def repaired(self, key: Key, now: float) -> bool:
        """Counts a repair (or a refused try); True when this one began to be held back, to be told once."""
        before = self._fights.get(key)
        quiet = before is None or now - max(before.last, before.not_before) > _WINDOW
        count = 1 if quiet or before is None else before.repairs + 1
        delay = 0.0 if count < _FREE else min(_CAP, 2.0 ** (count - _FREE + 1))
        self._fights[key] = _Fight(count, now, now + delay)
        return count == _FREE

    def prune(self, now: float) -> None:
        """Forgets what has been quiet for long."""
        self._fights = {k: f for k, f in self._fights.items() if now - f.not_before < 10 * _WINDOW}
