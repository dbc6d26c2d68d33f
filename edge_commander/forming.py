"""Forming and staying formed, decided from what was observed. Pure.

A ready node whose API goes away stays ready and says why: what the cluster was is not undone by not seeing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.contracts.identity import SiteDocument
from edge_commander.distribution.port import ClusterMember
from edge_commander.reasons import NOTHING, Reason, Why


@dataclass(frozen=True)
class Observation:
    """One look at the cluster. `members` None: it could not be asked; `rejected`: why it never will answer so."""

    api: bool
    members: Sequence[ClusterMember] | None = None
    rejected: str = ""


@dataclass(frozen=True)
class Outlook:
    """`formed`: the cluster answers and this node is a Ready member of it; else `reason` says what is missing."""

    formed: bool
    reason: Reason


def own_name(document: SiteDocument | None, node: str) -> str | None:
    """This node's name in Kubernetes, by the roster; None when there is no document or it lacks the node."""
    if document is None:
        return None
    return next((one.name for one in document.roster if one.node == node), None)


def site_names(document: SiteDocument | None) -> frozenset[str]:
    """The names in Kubernetes of all the roster's nodes; none when there is no document."""
    return frozenset(one.name for one in document.roster) if document is not None else frozenset()


def look(name: str, seen: Observation) -> Outlook:
    """What the observation means for the node called `name`. Details name no error text that may flicker."""
    if seen.rejected:
        return Outlook(False, Reason(Why.DISTRIBUTION, seen.rejected))
    if not seen.api or seen.members is None:
        return Outlook(False, Reason(Why.API))
    mine = next((one for one in seen.members if one.name == name), None)
    if mine is None:
        return Outlook(False, Reason(Why.MEMBER, f"no Node {name}"))
    if not mine.ready:
        return Outlook(False, Reason(Why.NODE_READY, f"Node {name}"))
    return Outlook(True, NOTHING)
