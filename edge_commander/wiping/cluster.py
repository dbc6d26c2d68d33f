"""What a wipe asks of the cluster besides its members. Touches its Leases, this node's Node and the pods on it.

`kube-system/galley-wipe` says which node is being wiped: taken by compare and set before anything else is done to the
cluster, and given back once that node is a Ready member again, or was not wiped after all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from edge_commander.distribution.port import ClusterMember
from edge_commander.formation.kube_lease import KubeLease
from edge_commander.formation.lease import NAME as JOIN
from edge_commander.formation.lease import UPGRADE, WIPE
from edge_commander.rolling.gate import Gate
from edge_commander.rotation.lease import NAME as ROTATION
from edge_commander.turns import Turns, busy

MARK = "galley/cordoned-for-wipe"
"""Annotation of a Node that a wipe cordoned: the command's id."""
COMMAND = "galley/command"
"""Annotation of the Lease: the command's id."""


class WipeCluster(Gate):
    """`connect` gives a connection; raises Retryable while there is none."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(connect, MARK)
        self._lease = KubeLease(connect, WIPE)
        self._others = [KubeLease(connect, name) for name in (JOIN, UPGRADE, ROTATION)]

    async def holder(self) -> str:
        """The Node that is being wiped; empty for none. Raises Retryable."""
        await self._lease.read()
        return self._lease.holder

    async def take(self, node: str, command_id: str) -> bool:
        """In place of what `holder` read; False when another was faster. Raises Retryable."""
        return await self._lease.write(node, {COMMAND: command_id}, turns=self._lease.turns + 1)

    async def give_back(self, node: str) -> bool:
        """Where it is `node`'s. False when another was faster: look again. Raises Retryable."""
        if await self.holder() != node:
            return True
        return await self._lease.write("", {}, turns=self._lease.turns + 1)

    async def busy(self, me: str, members: Sequence[ClusterMember], names: Collection[str]) -> str:
        """Why no node may go now, in words; empty where none joins, is upgraded or renews. `names`: the roster's, of
        whom one that joins is waited for: for how long it holds that turn is the members' own to say. Raises
        Retryable."""
        join, upgrade, rotation = self._others
        for lease in self._others:
            await lease.read()
        joining = join.holder if join.holder in names else ""
        return busy(Turns(joining=joining, upgrading=upgrade.holder, renewing=rotation.holder), me, members)
