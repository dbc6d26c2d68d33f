"""Takes snapshots of the cluster by itself: each member its own, on its `keep`. Touches the distribution.

Each member, and not one of them: the box that had them may be the one that dies. A failure is shown in the status with
its cause and tried again; the last whole snapshot stays until newer ones are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from agents.core.backoff import Backoff
from agents.core.errors import GalleyError
from agents.core.ports import Clock
from agents.supervise.pulse import Pulse
from edge_commander.distribution.port import AUTO, Distribution, Snapshot
from edge_commander.formation.rebuild import until_due
from edge_commander.view import SnapshotView

LOOK_SECONDS = 30.0
REST_SECONDS = 300.0
"""For how long a new member takes none: its node has enough to do, and nothing is lost in a cluster so young."""
LONGEST_SECONDS = 1900.0
"""A snapshot bounds itself, well below this."""


class SnapshotKeeping:
    """`seconds`: how often, 0 for never; `member`: whether this node is a member now; `uniform` spreads the members'
    snapshots a little."""

    def __init__(
        self,
        distribution: Distribution,
        clock: Clock,
        *,
        seconds: float,
        member: Callable[[], bool],
        uniform: Callable[[float, float], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._distribution = distribution
        self._clock = clock
        self._seconds = seconds
        self._member = member
        self._uniform = uniform
        self._log = log
        self._newest: Snapshot | None = None
        self._looked = False
        self._member_since: float | None = None
        self._problem = ""
        self._backoff = Backoff(base=LOOK_SECONDS, cap=900.0)

    async def run(self, pulse: Pulse) -> None:
        """A loop of the daemon."""
        while not pulse.stopping:
            pulse.expect(LONGEST_SECONDS)
            wait = await self.turn()
            await pulse.sleep(wait)

    async def turn(self) -> float:
        """One look, and a snapshot where one is due; how long to wait for the next look, s."""
        if not self._seconds or not self._member():
            self._member_since = None
            return min(LOOK_SECONDS, self._seconds or LOOK_SECONDS)
        if self._member_since is None:
            self._member_since = self._clock.monotonic()
        rest = self._member_since + min(REST_SECONDS, self._seconds) - self._clock.monotonic()
        if rest > 0:
            return min(rest, LOOK_SECONDS)
        try:
            if not self._looked:
                await self._look()
            now = self._clock.wall_ms() // 1000
            taken = self._newest.taken if self._newest is not None else None
            wait = until_due(taken, now, self._seconds * self._uniform(0.9, 1.0))
            if wait > 0:
                return min(wait, LOOK_SECONDS)
            name = f"{AUTO}{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
            self._log.info("took a snapshot", path=await self._distribution.snapshot(name))
            await self._look()
        except GalleyError as error:
            self._log.warning("no snapshot could be taken", cause=str(error))
            self._problem, self._backoff = str(error), self._backoff.failed()
            return self._backoff.delay(self._uniform)
        self._problem, self._backoff = "", self._backoff.succeeded()
        return min(LOOK_SECONDS, self._seconds)

    async def _look(self) -> None:
        found = await self._distribution.snapshots()
        self._newest = replace(found[0], secrets=None) if found else None
        self._looked = True

    def view(self) -> SnapshotView | None:
        """For the status; None where this node takes none and knows of none."""
        if self._newest is None and not self._problem:
            return None
        newest = self._newest or Snapshot(path="", site="", epoch=0, taken=0)
        age = self._clock.wall_ms() // 1000 - newest.taken if newest.path else -1
        return SnapshotView(path=newest.path, epoch=newest.epoch, age=age, bytes=newest.bytes, problem=self._problem)
