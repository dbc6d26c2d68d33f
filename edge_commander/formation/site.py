"""What formation goes by: a verified roster, and nothing less. Pure."""

from __future__ import annotations

from agents.core.trust import VerifiedRoster
from edge_commander.formation.former import Site


def site_of(node: str, verified: VerifiedRoster | None) -> Site | None:
    """The site as this node believes it; None where it believes no roster, or the roster names it no server.

    Servers alone form the cluster: workers are not made yet.
    """
    if verified is None:
        return None
    roster, servers = verified.roster, verified.servers()
    if not any(one.node == node for one in servers):
        return None
    return Site(
        site=roster.site,
        me=node,
        epoch=roster.epoch,
        roster=tuple(servers),
        election=roster.election,
        voters=tuple(roster.voters),
    )
