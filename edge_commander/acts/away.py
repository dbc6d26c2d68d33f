"""Whether a cluster can do without one of its nodes for a while: quorum, and what another is at. Pure.

The rule of the quorum is etcd's (etcd.io, Fault Tolerance): more than half of the voting members must be there. Servers
that are not Ready are counted as gone, as nothing is known of their etcd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.distribution.port import ClusterMember
from edge_commander.formation.plan import majority


@dataclass(frozen=True)
class Seen:
    """One look at the cluster. `busy`: what another node is at that must not be cut, in words; empty: nothing."""

    members: Sequence[ClusterMember]
    busy: str = ""


def why_not_away(me: str, seen: Seen) -> str:
    """Why the Node `me` must not go away for a while; empty where it may."""
    if seen.busy:
        return seen.busy
    return costs_quorum(me, seen.members)


def costs_quorum(me: str, members: Sequence[ClusterMember]) -> str:
    """Why the cluster would lose its quorum without `me`; empty where it would not, or has none that `me` is part of.

    A site of one server has none to lose: it is back when its node is.
    """
    servers = [one for one in members if one.server]
    if len(servers) < 2 or not any(one.name == me for one in servers):
        return ""
    others = [one for one in servers if one.name != me]
    need = majority(len(servers))
    there = sum(one.ready for one in others)
    if there >= need:
        return ""
    down = ", ".join(sorted(one.name for one in others if not one.ready)) or "no other"
    return f"the cluster would lose its quorum: {need} of {len(servers)} servers are needed, and {down} is not Ready"
