"""Whether a site's cluster outlives the wipe of one of its servers, by what the endpoint last heard. Pure.

The node asks its cluster as well, which knows better; this is the word of somebody outside it: docs/decisions/0057.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from agents.contracts.messages import NodeState
from cloud_endpoint.page.liveness import Liveness, judge
from cloud_endpoint.records import NodeRecord


def quorum(servers: int) -> int:
    """How many members of a cluster of so many servers must be up (etcd: a majority)."""
    return servers // 2 + 1


def lost(node: str, servers: Iterable[NodeRecord], *, now_ms: int, interval: float, before: Set[str]) -> str:
    """Why the wipe of `node` would cost the quorum, in words; empty where it would not.

    `servers`: of the site, enrolled, workers left out. `interval`: of beats, for a node that has not told its own, s.
    `before`: nodes whose last word of their state is from before they were wiped. Nobody is up for having been heard
    by an endpoint that has just started: after a start the first beats are waited for.
    """
    every = list(servers)
    if all(one.node != node for one in every):
        return ""  # a worker: no member votes less
    others = [one for one in every if one.node != node]
    troubles = {one.name: trouble(one, now_ms, interval, one.node in before) for one in others}
    up, needed = sum(not text for text in troubles.values()), quorum(len(every))
    if up >= needed:
        return ""
    words = "; ".join(f"{name} {text}" for name, text in sorted(troubles.items()) if text)
    found = f"of {len(every)} server(s) {needed} must be up, and without this node {up} would be"
    return f"{found} ({words})" if words else found


def trouble(node: NodeRecord, now_ms: int, interval: float, before: bool) -> str:
    """Why the node does not count as a member that is up; empty where it does."""
    live = judge(node.beat_ms, _number(node.facts, "interval") or interval, now_ms, 0)
    if live is Liveness.NEVER:
        return "was never heard"
    if live is Liveness.SILENT:
        return "is silent"
    state = str((node.state or {}).get("state", ""))
    if before:
        return "was wiped, and has not said since that it is ready"
    return "" if state == NodeState.READY.value else f"is {state or 'in a state not known'}"


def _number(body: dict[str, Any] | None, name: str) -> float:
    value = (body or {}).get(name)
    return float(value) if isinstance(value, int | float) else 0.0
