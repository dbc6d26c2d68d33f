"""The shell of rebuild.py: the older cluster's end on this node, and its snapshots. Touches the distribution.

What is remembered here is of this process alone: after a start everything is asked and done again.
"""

from __future__ import annotations

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.core.ports import Clock
from edge_commander.distribution.port import ClusterPlan, Distribution
from edge_commander.formation import rebuild
from edge_commander.formation.site import Site
from edge_commander.secrets.model import SiteSecrets


class Rebuilding:
    """One node's part in the change of epochs. Each raises what the distribution raises."""

    def __init__(self, distribution: Distribution, clock: Clock, log: FilteringBoundLogger) -> None:
        self._distribution = distribution
        self._clock = clock
        self._log = log
        self._stopped_for = 0
        self._looked_for = 0
        self._mark = ""
        self._since = 0.0

    def stopped(self, site: Site) -> bool:
        """Whether the older cluster was brought down here, for the site's present epoch."""
        return self._stopped_for == site.epoch

    def mark(self, site: Site) -> str:
        """Of the newest snapshot here; empty before `look`."""
        return self._mark if self._looked_for == site.epoch else ""

    def waited(self) -> float:
        """For how long it has known its own snapshots, s."""
        return self._clock.monotonic() - self._since

    async def stop(self, site: Site) -> None:
        """Brings the older cluster's part down."""
        await self._distribution.stop()
        self._stopped_for = site.epoch

    async def look(self, site: Site) -> None:
        """Reads which snapshots are here; from then on siblings with newer ones are waited for."""
        found = await self._distribution.snapshots()
        self._mark, self._looked_for = rebuild.mark(found, site.site, site.epoch), site.epoch
        self._since = self._clock.monotonic()
        self._log.info("looked for snapshots", epoch=site.epoch, newest=self._mark)

    async def secrets(self, site: Site) -> SiteSecrets | None:
        """Those that the restored cluster must have; None where new ones are to be made. Rejected without a
        snapshot."""
        found = rebuild.newest(await self._distribution.snapshots(), site.site, site.epoch)
        return None if found.secrets is None else msgspec.structs.replace(found.secrets, epoch=site.epoch)

    async def restore(self, site: Site, plan: ClusterPlan) -> None:
        """Makes the cluster of the newest snapshot; asked again it goes on. Rejected without a snapshot."""
        found = rebuild.newest(await self._distribution.snapshots(), site.site, site.epoch)
        self._log.warning("the cluster is made of a snapshot", path=found.path, of_epoch=found.epoch)
        await self._distribution.restore(found.path, plan)
