"""What the status shows besides the durable record: members as they were last seen, clock, disks, a wipe under way.

Touches the file systems' free space, and the machine's root half where a wipe is to be asked for. Nothing is asked of
the cluster: the node's loop has looked already.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agents.contracts.command import Verb
from agents.contracts.messages import NodeState
from agents.core.errors import GalleyError
from edge_commander.distribution.port import ClusterMember
from edge_commander.forming import own_name
from edge_commander.memory import Memory
from edge_commander.times import Times
from edge_commander.view import Around, ClockView, DiskView, MemberView, WipedTarget, WipeView

ASK_SECONDS = 1.5
"""The status is to be there in a moment, also where the machine's root half hangs."""
AGAIN_SECONDS = 10.0
_WIPES = frozenset({Verb.WIPE, Verb.RETIRE})


class Surroundings:
    """`disks`: name to path, of what is shown; `members`: as they were last seen; `wipe`: asks for the journal's
    record, see machine/wiping.py. `update`: how far an image's update is, where this machine has what makes them."""

    def __init__(
        self,
        memory: Memory,
        times: Times,
        *,
        disks: Mapping[str, str],
        members: Callable[[], Sequence[ClusterMember]],
        wipe: Callable[[], Awaitable[Any]],
    ) -> None:
        self._memory = memory
        self._times = times
        self._disks = disks
        self._members = members
        self._wipe = wipe
        self.update: Callable[[], str] = str
        self._heard: WipeView | None = None
        self._asking: asyncio.Task[None] | None = None
        self._again = 0.0

    async def around(self) -> Around:
        """All of it, now."""
        memory, times = self._memory, self._times
        return Around(
            name=own_name(memory.site, memory.record.node or "") or "",
            members=[
                MemberView(name=o.name, ready=o.ready, server=o.server, version=o.version) for o in self._members()
            ],
            wipe=await self._wiped() if self._is_wiped else None,
            update=self.update(),
            clock=ClockView(now=times.now_ms(), confirmed=times.confirmed, problem=times.problem().text),
            disks=[one for name, path in self._disks.items() if (one := disk(name, path)) is not None],
        )

    @property
    def _is_wiped(self) -> bool:
        current = self._memory.ledger.current
        return self._memory.record.state is NodeState.WIPING or (current is not None and current.command.verb in _WIPES)

    async def _wiped(self) -> WipeView | None:
        """As it was last heard. Console and page look every 2 s, and each question is a process at the root half: one
        at a time, and not again before AGAIN_SECONDS."""
        if self._asking is None and asyncio.get_running_loop().time() >= self._again:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=ASK_SECONDS)
        return self._heard

    async def _ask(self) -> None:
        try:
            self._heard = wipe_view(await self._wipe())
        except GalleyError:
            self._heard = None
        finally:
            self._asking, self._again = None, asyncio.get_running_loop().time() + AGAIN_SECONDS


def disk(name: str, path: str) -> DiskView | None:
    """The file system at `path`; None where it cannot be asked."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return DiskView(name=name, path=path, free=found.f_bavail * found.f_frsize, size=found.f_blocks * found.f_frsize)


def wipe_view(record: object) -> WipeView | None:
    """Of the journal's record as JSON has it; None where there is none, or none that is understood."""
    if not isinstance(record, dict):
        return None
    try:
        targets = [
            WipedTarget(name=str(one["target"]), stage=str(one["stage"]), done=_percent(one))
            for one in record.get("targets") or ()
        ]
        return WipeView(
            id=str(record["id"]),
            phase=str(record["phase"]),
            targets=targets,
            attempts=int(record.get("attempts") or 0),
            problem=str(record.get("problem") or ""),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _percent(target: Mapping[str, Any]) -> int:
    if target.get("stage") == "done":
        return 100
    area, offset = int(target.get("area") or 0), int(target.get("offset") or 0)
    return min(100, offset * 100 // area) if area else 0
