"""Whether a node may go without costing its cluster the quorum. Pure.

etcd has a quorum while a majority of its members answers (etcd's FAQ, "Why an odd number of cluster members"). A wiped
node comes back after minutes, so none may go while another one is away.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_commander.distribution.port import ClusterMember
from edge_commander.formation.plan import majority


def cost(me: str, members: Sequence[ClusterMember]) -> str:
    """Why the Node called `me` may not go, in words; empty where it may. A worker never costs a quorum, nor does a
    node that is no member."""
    own = next((one for one in members if one.name == me), None)
    if own is None or not own.server:
        return ""
    servers = [one for one in members if one.server]
    if len(servers) == 1:
        return "it is the only server of its cluster: that is a rebuild of the site, and must be signed as one"
    down = sorted(one.name for one in members if one.name != me and not one.ready)
    if down:
        return f"{', '.join(down)} is down"
    left, need = sum(one.ready for one in servers if one.name != me), majority(len(servers))
    if left < need:
        return f"{left} of {len(servers)} servers would be left, {need} are a majority"
    return ""
