"""What is owed once a wipe's command was answered: to the journal, to the cluster, or a boot. Touches all three.

Level-triggered: looked at until nothing is owed. A Lease and a cordon are given back once this node is a Ready member
again; at once, where it was not wiped after all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agents.core.errors import GalleyError
from edge_commander.machine.wire import REBOOT, REPORTED, WIPE_STATE
from edge_commander.wiping.duty import Duty
from edge_commander.wiping.facts import REBOOT_AGAIN
from edge_commander.wiping.means import Means

OPEN = ("armed", "running")


class After:
    """`pending`: how many messages the commander's own outbox holds."""

    def __init__(self, means: Means, pending: Callable[[], Awaitable[int]]) -> None:
        self._m = means
        self._pending = pending
        self._since: float | None = None
        self._rebooted: float | None = None
        self._told = ""

    async def look(self) -> None:
        """One look; what cannot be done now is done the next time."""
        duty = self._m.duties.duty
        if duty is None:
            return
        try:
            if not duty.arming or duty.reported or await self._journal(duty):
                await self._give_back(duty)
        except GalleyError as error:
            if self._told != (told := str(error)):
                self._told = told
                self._m.log.info("what a wipe owes has to wait", cause=told)

    async def _journal(self, duty: Duty) -> bool:
        """Whether the journal knows that its wipe was answered. Raises Retryable, Rejected."""
        m = self._m
        found: Any = await m.machine.ask(WIPE_STATE)
        if not isinstance(found, dict) or found.get("id") != duty.command_id:
            m.duties.save(msgspec.structs.replace(duty, arming=False))  # it was not armed after all
            return False
        if found.get("phase") in OPEN:
            if duty.retire:
                await self._last_boot()
            return False
        await m.machine.ask(REPORTED, duty.command_id)
        m.duties.save(msgspec.structs.replace(duty, reported=True))
        return False

    async def _last_boot(self) -> None:
        """Of a retired node: its answer must be away before, and not for ever."""
        m, now = self._m, self._m.clock.monotonic()
        self._since = now if self._since is None else self._since
        waits = await self._pending() and now - self._since < m.settings.outbox_seconds
        if waits or (self._rebooted is not None and now - self._rebooted < REBOOT_AGAIN):
            return
        m.log.warning("the machine starts anew, to be erased", audit=True)
        await m.machine.ask(REBOOT)
        self._rebooted = now

    async def _give_back(self, duty: Duty) -> None:
        m = self._m
        if m.cluster is not None and (duty.lease or duty.cordoned):
            members = await m.distribution.members()
            if m.duties.duty is not duty:  # another command came meanwhile
                return
            mine = next((one for one in members if one.name == duty.node), None)
            if duty.arming and (mine is None or not mine.ready):
                return
            if duty.cordoned and mine is not None:
                await m.cluster.uncordon(duty.node)
            if duty.lease and not await m.cluster.give_back(duty.node):
                return
        if m.duties.duty is not duty:
            return
        m.duties.clear()
        m.log.info("what a wipe owed was given back", audit=True, id=duty.command_id)
