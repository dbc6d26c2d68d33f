"""When a node may be rebooted by a command: one an hour in a site, and never at the quorum's cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_commander.acts.away import Seen, why_not_away

HOUR_MS = 3_600_000
TRIES = 3
"""How often the machine is told; then the command has failed."""
AGAIN_SECONDS = 180.0
"""After which a machine that was told to reboot and is still here is told again: units may take long to stop."""


@dataclass(frozen=True)
class Last:
    """The site's last reboot by command. `node`: whose; `at`: Unix ms, 0 for never; `command`: by which, and the
    boot id it was noted in."""

    node: str = ""
    at: int = 0
    command: str = ""
    boot: str = ""


@dataclass(frozen=True)
class RebootFacts:
    """`me`: this node's name in Kubernetes. `command`: the id of the one in hand. `last`: by the cluster's word,
    `own_ms`: by this node's own record. `seen` None: there is no cluster that answers."""

    me: str
    command: str
    now_ms: int
    last: Last = Last()
    own_ms: int = 0
    seen: Seen | None = None


def why_not(facts: RebootFacts) -> str:
    """Why this node is not rebooted now, in words; empty where it may be.

    Where no API server answers nothing is known of the others, and a reboot may well be what brings it back: then this
    node's own record alone counts.
    """
    for last in (facts.last, Last(facts.me or "this node", facts.own_ms)):
        if last.command != facts.command and (ago := _ago(last.at, facts.now_ms)) is not None:
            who = last.node or "a node of this site"
            return f"{who} was rebooted {ago} min ago, and a site is given one reboot an hour"
    return why_not_away(facts.me, facts.seen) if facts.seen is not None else ""


def _ago(at: int, now: int) -> int | None:
    """Minutes since; None where it is an hour or more. A clock that was put back counts as little time: one that was
    wrong by more than that says nothing."""
    return abs(now - at) // 60_000 if at and abs(now - at) < HOUR_MS else None
