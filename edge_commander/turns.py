"""Whose turn something is in a site, by its Leases, and whether that still counts: for all that would take a node away.
Pure.

No time ends the turn to leave (docs/decisions/0060): a node that was wiped, or joins anew, and does not come back is a
member that is down. A clock would say otherwise, and clocks of nodes may be wrong by years.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_commander.distribution.port import ClusterMember


@dataclass(frozen=True)
class Turns:
    """Nodes' names, empty while it is nobody's. `joining`, `leaving`: told by who asks only where it counts still."""

    joining: str = ""
    upgrading: str = ""
    renewing: str = ""
    leaving: str = ""


def gone(holder: str, names: Collection[str], members: Sequence[ClusterMember]) -> bool:
    """Whether a holder gives nothing back any more: neither the roster (`names`) nor the cluster has it, as with a
    retired node. Nobody (empty) is gone."""
    return holder not in names and not any(one.name == holder for one in members)


def busy(turns: Turns, me: str, members: Sequence[ClusterMember]) -> str:
    """What another node is at, in words. A turn that its holder left lying, when it became a Ready member or left the
    cluster, counts for nothing; of those that a Ready member may well hold, only that it is gone."""
    ready = {one.name for one in members if one.ready}
    there = {one.name for one in members}
    if turns.joining not in ("", me) and turns.joining not in ready:
        return f"{turns.joining} is joining"
    if turns.leaving not in ("", me):
        return f"{turns.leaving} is being wiped, or joins anew"
    if turns.upgrading in there:
        return "this node is upgraded just now" if turns.upgrading == me else f"{turns.upgrading} is upgraded"
    if turns.renewing in ready:
        who = "this node renews its" if turns.renewing == me else f"{turns.renewing} renews its"
        return f"{who} certificates just now"
    return ""
