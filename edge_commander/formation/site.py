"""What formation goes by: a verified roster, and nothing less. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.identity import Election, Member, Voter
from agents.contracts.orders import OrderKind, SiteOrder
from agents.core.trust import VerifiedRoster


@dataclass(frozen=True)
class Site:
    """What the newest verified document says. `me`: this node's id. `generation`: the roster's. `orders`: operators'
    orders for this epoch, one of a kind at most. `restore`: the epoch's cluster is made of an older one's snapshot.

    `roster`: the servers. They alone decide, count in majorities and hold authorities; `workers` only join.
    """

    site: str
    me: str
    epoch: int
    roster: tuple[Member, ...]
    election: Election = Election.CLOUD
    voters: tuple[Voter, ...] = ()
    generation: int = 0
    orders: tuple[SiteOrder, ...] = ()
    restore: bool = False
    workers: tuple[Member, ...] = ()

    @property
    def members(self) -> tuple[Member, ...]:
        """Servers and workers."""
        return (*self.roster, *self.workers)

    @property
    def own(self) -> Member:
        """This node's line."""
        return next(one for one in self.members if one.node == self.me)

    @property
    def is_worker(self) -> bool:
        """Whether this node carries no control plane."""
        return any(one.node == self.me for one in self.workers)

    @property
    def others(self) -> dict[str, Member]:
        """The other servers by id."""
        return {one.node: one for one in self.roster if one.node != self.me}

    def order(self, kind: OrderKind) -> SiteOrder | None:
        """The newest order of a kind; None where there is none."""
        return next((one for one in self.orders if one.kind is kind), None)


def site_of(node: str, verified: VerifiedRoster | None, orders: tuple[SiteOrder, ...] = ()) -> Site | None:
    """The site as this node believes it; None where it believes no roster, or the roster does not name it."""
    if verified is None:
        return None
    roster, servers = verified.roster, verified.servers()
    here = {one.node for one in servers}
    workers = tuple(one for one in verified.members() if one.node not in here)
    if node not in here and not any(one.node == node for one in workers):
        return None
    return Site(
        site=roster.site,
        me=node,
        epoch=roster.epoch,
        roster=tuple(servers),
        election=roster.election,
        voters=tuple(roster.voters),
        generation=roster.generation,
        orders=orders,
        restore=verified.restore,
        workers=workers,
    )
