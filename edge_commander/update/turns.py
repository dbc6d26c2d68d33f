"""Whose turn it is to be updated: the site's one turn to leave the cluster, which wipes and rejoins take as well.
Touches the cluster."""

from __future__ import annotations

from collections.abc import Callable

from edge_commander.acts.cluster import ActsCluster


class Alone:
    """Where no cluster of ours is: nobody waits for anybody."""

    async def look(self) -> tuple[bool, str, str]:
        """See Turns."""
        return True, "", ""

    async def take(self) -> None:
        """See Turns."""

    async def give_back(self) -> None:
        """See Turns."""


class InTurn:
    """`me`: this Node's name; `command`: the id of the update's. Each raises Retryable."""

    def __init__(self, cluster: ActsCluster, me: Callable[[], str], command: Callable[[], str]) -> None:
        self._cluster = cluster
        self._me = me
        self._command = command

    async def look(self) -> tuple[bool, str, str]:
        """See Turns."""
        me = self._me()
        if await self._cluster.has_leave(me, self._command()):
            return True, "", ""
        seen = await self._cluster.others(me)
        unready = next((one.name for one in seen.members if not one.ready and one.name != me), "")
        return False, seen.busy, unready

    async def take(self) -> None:
        """See Turns."""
        await self._cluster.take_leave(self._me(), self._command())

    async def give_back(self) -> None:
        """See Turns."""
        await self._cluster.give_leave_back(self._me(), self._command())
