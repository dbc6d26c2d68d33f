"""What the verbs ask of the cluster: its members, whose turn something is, two Leases. Touches the cluster.

By the commander's own user, with the rights that distribution/settle.py gives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any

from edge_commander.acts.away import Seen
from edge_commander.acts.reboot_rules import Last
from edge_commander.distribution.port import Distribution
from edge_commander.formation.kube_lease import KubeLease, number
from edge_commander.formation.lease import NAME as JOIN
from edge_commander.formation.lease import UPGRADE, WIPE
from edge_commander.formation.slot import HOLD_SECONDS
from edge_commander.rotation.lease import NAME as ROTATION
from edge_commander.turns import Turns, busy, gone

REBOOT = "galley-reboot"
_AT, _COMMAND, _NODE, _BOOT = (f"galley/{one}" for one in ("at", "command", "node", "boot"))


class ActsCluster:
    """`connect` gives a connection; raises Retryable while there is none. `now_ms`: Unix ms. `names`: of the roster.

    `galley-wipe` is the turn to leave, which wipe, rejoin and a new image share: one node of a site is away at a time.
    """

    def __init__(
        self,
        distribution: Distribution,
        connect: Callable[[], Awaitable[Any]],
        now_ms: Callable[[], int],
        names: Callable[[], Collection[str]],
    ) -> None:
        self._distribution = distribution
        self._connect = connect
        self._now_ms = now_ms
        self._names = names
        self._reboot = KubeLease(connect, REBOOT)
        self._leave = KubeLease(connect, WIPE)

    async def see(self, me: str) -> Seen:
        """One look. Raises Retryable, Rejected."""
        await self._leave.read()
        return await self.others(me)

    async def others(self, me: str) -> Seen:
        """The same, with the turn to leave as it was read last."""
        members = await self._distribution.members()
        leaving = self._leave.holder
        turns = Turns(
            joining=await self._joining(),
            upgrading=await self._holder(UPGRADE),
            renewing=await self._holder(ROTATION),
            leaving="" if gone(leaving, self._names(), members) else leaving,
        )
        return Seen(members, busy(turns, me, members))

    async def last_reboot(self) -> Last:
        """The site's. Raises Retryable, Rejected."""
        await self._reboot.read()
        notes = self._reboot.notes
        node, command, boot = (str(notes.get(one, "")) for one in (_NODE, _COMMAND, _BOOT))
        return Last(node, number(notes.get(_AT)), command, boot)

    async def reboots(self, me: str, command: str, boot: str) -> bool:
        """Notes this node's, in place of what `last_reboot` read; False where another was faster. Raises Retryable."""
        notes = {_AT: str(self._now_ms()), _COMMAND: command, _NODE: me, _BOOT: boot}
        return await self._reboot.write(me, notes, turns=self._reboot.turns + 1)

    async def has_leave(self, me: str, command: str) -> bool:
        """Whether that turn is this command's. Raises Retryable."""
        await self._leave.read()
        return self._leave.holder == me and self._leave.notes.get(_COMMAND) == command

    async def take_leave(self, me: str, command: str) -> bool:
        """The turn to leave the cluster; True also where this command has it already. Raises Retryable."""
        if await self.has_leave(me, command):
            return True
        holder = self._leave.holder
        if holder not in ("", me) and not gone(holder, self._names(), await self._distribution.members()):
            return False
        return await self._leave.write(me, {_COMMAND: command}, turns=self._leave.turns + 1)

    async def give_leave_back(self, me: str, command: str) -> None:
        """Ends that turn; nothing where it is not this command's. Raises Retryable."""
        if await self.has_leave(me, command):
            await self._leave.write("", {}, turns=self._leave.turns + 1)

    async def _holder(self, name: str) -> str:
        lease = KubeLease(self._connect, name)
        await lease.read()
        return lease.holder

    async def _joining(self) -> str:
        lease = KubeLease(self._connect, JOIN)
        await lease.read()
        return self._fresh(lease, HOLD_SECONDS)

    def _fresh(self, lease: KubeLease, seconds: float) -> str:
        """The holder, unless it has had its time."""
        began = _stamp((lease.last.get("spec") or {}).get("acquireTime"))
        return lease.holder if abs(self._now_ms() - began) < seconds * 1000 else ""


def _stamp(text: object) -> int:
    """Unix ms of a time as the API writes it; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except ValueError:
        return 0
