"""Touches the cluster: the Lease `kube-system/galley-join`, whose turn it is to join, and to be upgraded or wiped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agents.io.kube_errors import KubeRejected
from edge_commander.formation.kube_lease import KubeLease, Requests
from edge_commander.formation.slot import Held

NAME = "galley-join"
UPGRADE = "galley-upgrade"
WIPE = "galley-wipe"


class JoinLease:
    """`connect` gives a connection to the cluster; raises Retryable while there is none."""

    def __init__(self, connect: Callable[[], Awaitable[Requests]]) -> None:
        self._lease = KubeLease(connect, NAME)
        self._upgrade = KubeLease(connect, UPGRADE)
        self._wipe = KubeLease(connect, WIPE)

    async def holder(self) -> Held:
        """See SlotLease."""
        await self._lease.read()
        return Held(self._lease.holder, self._lease.turns)

    async def upgrading(self) -> str:
        """The Node that is upgraded now, by rolling/cluster.py's Lease; empty where none is. Raises Retryable."""
        await self._upgrade.read()
        return self._upgrade.holder

    async def wiping(self) -> str:
        """The Node that is being wiped, by wiping/cluster.py's Lease; empty where none is, also where an older sibling
        gave the commanders rights without that Lease: then nobody can hold it. Raises Retryable."""
        try:
            await self._wipe.read()
        except KubeRejected as error:
            if error.status != 403:
                raise
            return ""
        return self._wipe.holder

    async def take(self, name: str) -> bool:
        """See SlotLease."""
        return await self._lease.write(name, {}, turns=self._lease.turns + 1)
