"""`snapshot`: one of the cluster to this node's `keep`, named after the command. Touches the distribution.

The name makes it repeatable: after a crash the one that is there is answered, and no second one is taken. Such a one is
never thinned out: a person asked for it, and takes it away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.contracts.command import Command
from agents.core.errors import Retryable
from edge_commander.acts.beside import Beside
from edge_commander.distribution.port import Distribution, Snapshot
from edge_commander.verbs import Outcome

PREFIX = "command-"


def name_of(command: Command) -> str:
    """As the snapshot is called."""
    return f"{PREFIX}{command.id}"


class TakesSnapshots:
    """`why_not`: why this node can take none, in words; empty where it can."""

    def __init__(self, distribution: Distribution, beside: Beside, why_not: Callable[[], str]) -> None:
        self._distribution = distribution
        self._beside = beside
        self._why_not = why_not

    async def execute(self, command: Command) -> Outcome | None:
        """See Handler. Raises Retryable, Rejected."""
        if why_not := self._why_not():
            return Outcome("refused", f"no snapshot can be taken here: {why_not}")
        return await self._beside.outcome(command.id, lambda: self._take(name_of(command)))

    async def _take(self, name: str) -> Outcome:
        found = await self._there(name)
        if found is None:
            await self._distribution.snapshot(name)
            found = await self._there(name)
        if found is None:
            raise Retryable(f"the snapshot {name} is not whole after it was taken")
        size = f"{found.bytes} bytes, revision {found.revision}, epoch {found.epoch}"
        return Outcome("done", f"{found.path}: {size}")

    async def _there(self, name: str) -> Snapshot | None:
        """The whole snapshot of that name. k3s gives the file's name a tail of its own: node and time."""
        for one in await self._distribution.snapshots():
            file = Path(one.path).name
            if file == name or file.startswith(f"{name}-"):
                return one
        return None
