"""What an upgrade asks of the cluster besides its members. Touches its Lease `kube-system/galley-upgrade`, and this
node's Node and pods (gate.py).

Done by the commander's own user, with the rights that distribution/settle.py gives: no administrator is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from edge_commander.formation.kube_lease import KubeLease, number
from edge_commander.formation.lease import UPGRADE as LEASE
from edge_commander.rolling.gate import Gate
from edge_commander.rolling.plan import Turn

MARK = "galley/cordoned-for"
"""Annotation of a Node that we cordoned: the order's number. In the same write as the cordon, so none is without."""
_ORDER, _TRIES, _STOPPED, _WHY = (f"galley/{one}" for one in ("order", "tries", "stopped", "why"))
_WHY_CHARS = 300


class RollingCluster(Gate):
    """`connect` gives a connection; raises Retryable while there is none."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(connect, MARK)
        self._lease = KubeLease(connect, LEASE)

    async def turn(self) -> Turn:
        """Whose turn it is. Raises Retryable."""
        await self._lease.read()
        return read_turn(self._lease)

    async def put(self, turn: Turn) -> bool:
        """Replaces the Lease that `turn` read last; False when another was faster. Raises Retryable."""
        return await self._lease.write(turn.holder, notes_of(turn), turns=self._lease.turns + 1)


def read_turn(found: KubeLease) -> Turn:
    """The turn that the Lease says. What is no number counts as 0."""
    notes = found.notes
    return Turn(
        holder=found.holder,
        order=number(notes.get(_ORDER)),
        tries=number(notes.get(_TRIES)),
        stopped=str(notes.get(_STOPPED, "")),
        why=str(notes.get(_WHY, "")),
    )


def notes_of(turn: Turn) -> dict[str, str]:
    """The annotations that say it."""
    notes = {_ORDER: str(turn.order), _TRIES: str(turn.tries)}
    return notes | {_STOPPED: turn.stopped, _WHY: turn.why[:_WHY_CHARS]} if turn.stopped else notes
