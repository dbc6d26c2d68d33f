"""Whose turn it is to join: one node at a time, by a Lease in the cluster itself. Decisions; touches nothing. Pure.

Parallel joins strand a node (k3s issue 4335), and etcd allows one learner at a time. The Lease is read and replaced by
the members that are asked; a remote clock is never trusted: a holder's time runs from when this member first saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.distribution.port import ClusterMember

HOLD_SECONDS = 900.0
"""A join that has not ended by then no longer keeps the others waiting."""
AGAIN_SECONDS = 300.0
"""Until then a holder whose join failed may begin another, which ends in its time; then it lets others, who wait."""
WAITS_SECONDS = 60.0
"""Who was sent away this long ago still waits."""


@dataclass(frozen=True)
class Held:
    """The Lease as it was read. `name`: a Node's, empty while it is free; `turn` rises each time that it is taken."""

    name: str = ""
    turn: int = 0


@dataclass(frozen=True)
class Seen:
    """Who holds, and when (monotonic s) this member first saw that turn."""

    held: Held = Held()
    at: float = float("-inf")

    def over(self, now: float) -> bool:
        """Whether the holder has had its time."""
        return now - self.at >= HOLD_SECONDS


def observe(seen: Seen, held: Held, now: float) -> Seen:
    """Remembers when a turn was first seen."""
    return seen if seen.held == held else Seen(held, now)


def is_free(seen: Seen, asker: str, members: Sequence[ClusterMember], now: float, *, waits: bool) -> bool:
    """Whether `asker` (a Node's name) may take the slot: nobody holds it, its holder has had its time or has become a
    Ready member, or it does itself. `waits`: another was sent away just now, so a join that fails must end."""
    if seen.held.name == asker:
        return not waits or now - seen.at < AGAIN_SECONDS
    if not seen.held.name or seen.over(now):
        return True
    return any(one.name == seen.held.name and one.ready for one in members)


def ghost(asker: str, fresh: bool, members: Sequence[ClusterMember]) -> bool:
    """Whether a member of the asker's name must be taken out first: it says itself that nothing of it is left."""
    return fresh and any(one.name == asker for one in members)


def is_well(asker: str, members: Sequence[ClusterMember]) -> bool:
    """Whether the cluster has that member as Ready: then it is no ghost, whatever is said of it. What was wiped ceases
    to be Ready within a minute."""
    return any(one.name == asker and one.ready for one in members)


def doors(members: Sequence[ClusterMember], asker: str, addresses: dict[str, str]) -> list[str]:
    """LAN addresses of Ready servers other than the asker, by the roster's word where it has one."""
    ready = [one for one in members if one.ready and one.server and one.name != asker]
    found = (addresses.get(one.name) or next(iter(one.addresses), "") for one in ready)
    return [address for address in found if address]
