"""Whether a cluster can do without one of its nodes for a while: quorum, and whose turn something is. Pure.

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


@dataclass(frozen=True)
class Turns:
    """Whose turn something is, Nodes' names, empty while it is nobody's. `joining` is told only while its time runs."""

    joining: str = ""
    upgrading: str = ""
    renewing: str = ""
    leaving: str = ""


def busy(turns: Turns, me: str, members: Sequence[ClusterMember]) -> str:
    """What another node is at, in words. A turn that its holder left lying, when it became a Ready member or left the
    cluster, counts for nothing; of those that a Ready member may well hold, only that it is gone."""
    ready = {one.name for one in members if one.ready}
    there = {one.name for one in members}
    if turns.joining not in ("", me) and turns.joining not in ready:
        return f"{turns.joining} is joining"
    if turns.leaving not in ("", me) and turns.leaving in there:
        return f"{turns.leaving} is being wiped, or joins anew"
    if turns.upgrading in there:
        return "this node is upgraded just now" if turns.upgrading == me else f"{turns.upgrading} is upgraded"
    if turns.renewing in ready:
        who = "this node renews its" if turns.renewing == me else f"{turns.renewing} renews its"
        return f"{who} certificates just now"
    return ""


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
