"""A site rebuilt from a snapshot: which node may begin the next epoch's cluster, and of what. Pure.

Where an operator's word raised the epoch to restore, no empty cluster is ever begun: only a node that has a whole
snapshot may be the one that begins, and of those that answer the one with the newest goes first. It is waited for a
bounded time; one that cannot reach the endpoint must not keep the site down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from agents.contracts.siblings import FormationStatus
from agents.core.errors import Rejected
from edge_commander.distribution.port import Snapshot

PATIENCE_SECONDS = 120.0
"""How long a node with a snapshot waits for each sibling that goes first: one with a newer one, or that has not looked
yet."""
NONE = "-"
"""The mark of a node that looked and has no snapshot: sorts before any other."""


def fitting(found: Iterable[Snapshot], site: str, epoch: int) -> list[Snapshot]:
    """Snapshots of the site's older clusters, the newest first. `epoch`: of the cluster that is to be made."""
    return sorted((one for one in found if one.site == site and one.epoch < epoch), key=lambda one: one.age)[::-1]


def newest(found: Iterable[Snapshot], site: str, epoch: int) -> Snapshot:
    """What the cluster of `epoch` is made of. Raises Rejected where there is nothing: it was there when this node asked
    to begin."""
    fits = fitting(found, site, epoch)
    if not fits:
        raise Rejected(f"no whole snapshot of {site} from before epoch {epoch} is left on this node")
    return fits[0]


def mark(found: Iterable[Snapshot], site: str, epoch: int) -> str:
    """What siblings are told of the newest one: text that sorts as the snapshots do."""
    fits = fitting(found, site, epoch)
    return "{:010d}.{:019d}.{:011d}".format(*fits[0].age) if fits else NONE


def until_due(taken: int | None, now: int, seconds: float) -> float:
    """How long until the next snapshot is due, s; 0 for now. `taken`, `now`: Unix s. One from the future was taken by
    a clock that was wrong: its age is not known."""
    if taken is None or taken > now + 60:
        return 0.0
    return max(0.0, taken + seconds - now)


def why_not(own: str, known: Mapping[str, FormationStatus], there: Collection[str], waited: float) -> str:
    """Why this node does not ask to begin; empty where it does. `own`: its mark; `known`: siblings' answers about this
    epoch; `there`: all that answered; `waited`: for how long, s."""
    if own == NONE:
        others = [said.snapshot for node, said in known.items() if said.snapshot not in ("", NONE)]
        if others or any(node not in known or not known[node].snapshot for node in there):
            return "no snapshot lies here: a node that has one begins"
        return "no node that answers has a snapshot: start one that has, or order an epoch that is not restored"
    unheard = sorted(node for node in there if node not in known or not known[node].snapshot)
    newer = sorted(node for node, said in known.items() if said.snapshot > own)
    if waited >= PATIENCE_SECONDS * len({*unheard, *newer}):
        return ""
    if newer:
        return f"{newer[0]} has a newer snapshot and goes first"
    return f"{unheard[0]} has not said yet which snapshot it has"
