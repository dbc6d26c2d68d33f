"""Touches the cluster: the Lease `kube-system/galley-rotation`: who renews, and what the newest generation is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from edge_commander.formation.kube_lease import KubeLease, Requests, number
from edge_commander.rotation.plan import Turn

NAME = "galley-rotation"
_EPOCH, _GENERATION, _DIGEST = "galley/epoch", "galley/generation", "galley/digest"


class RotationLease:
    """`connect` gives a connection to the cluster; raises Retryable while there is none. Each write is compared and
    set against what `read` read last: False when another was faster."""

    def __init__(self, connect: Callable[[], Awaitable[Requests]]) -> None:
        self._connect = connect
        self._lease = KubeLease(connect, NAME)

    async def read(self) -> Turn:
        """The Lease now. Raises Retryable."""
        await self._lease.read()
        said = self._lease.notes
        return Turn(
            self._lease.holder, number(said.get(_EPOCH)), number(said.get(_GENERATION)), str(said.get(_DIGEST, ""))
        )

    async def holder(self) -> str:
        """The Node whose turn it is; empty: nobody's. Leaves what `read` read as it was. Raises Retryable."""
        beside = KubeLease(self._connect, NAME)
        await beside.read()
        return beside.holder

    async def take(self, name: str) -> bool:
        """The turn, for the Node of that name; empty lets it go."""
        return await self._write(name, self._lease.notes)

    async def announce(self, epoch: int, generation: int, digest: str) -> bool:
        """Says what the newest generation is; who holds the turn stays."""
        said = {_EPOCH: str(epoch), _GENERATION: str(generation), _DIGEST: digest}
        return await self._write(self._lease.holder, {**self._lease.notes, **said})

    async def _write(self, holder: str, notes: dict[str, Any]) -> bool:
        return await self._lease.write(holder, notes, turns=self._lease.turns + 1)
