"""The next step of a node that gives its membership up and takes it anew, from what is known. Pure.

As with a wipe, one node of a site is away at a time, and never at the quorum's cost. Once the cluster's part here began
to go there is no way back but through: then nothing is judged any more, it is gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_commander.acts.away import Seen
from edge_commander.wiping.quorum import cost


@dataclass(frozen=True)
class RejoinFacts:
    """What is known now. `me`: this node's name in Kubernetes. `seen` None: the API does not answer. `begun`: the turn
    was taken for this command; `leaving`: the cluster's part here began to go, `left`: it is gone.
    `drained`: pods are gone, or had their time. `ready`: the state is READY; `member`: this node is
    one again, by its record. `over`: it has had its time; `waits`: what for."""

    me: str
    seen: Seen | None
    begun: bool = False
    leaving: bool = False
    left: bool = False
    drained: bool = False
    ready: bool = True
    member: bool = True
    over: bool = False
    waits: str = ""


@dataclass(frozen=True)
class Refuse:
    """Nothing was begun."""

    why: str


@dataclass(frozen=True)
class Take:
    """Take the turn to leave, then note that it was begun."""


@dataclass(frozen=True)
class Drain:
    """Cordon, and ask the pods to go."""


@dataclass(frozen=True)
class Leave:
    """Note that it begins to go, then have the cluster's part here taken off."""


@dataclass(frozen=True)
class Forming:
    """The state becomes what it is: forming."""


@dataclass(frozen=True)
class Wait:
    """Ask again."""


@dataclass(frozen=True)
class End:
    """Put back what is ours, give the turn back, and answer."""

    done: bool
    why: str


Step = Refuse | Take | Drain | Leave | Forming | Wait | End


_SILENT = "the cluster's API server does not answer: nothing is known of the other nodes"


def next_step(facts: RejoinFacts) -> Step:
    """The one thing to do now. First rule that fits."""
    if facts.left:
        return _joining(facts)
    if facts.leaving:
        return End(False, f"the cluster's part here does not go: {facts.waits}") if facts.over else Wait()
    why = _SILENT if facts.seen is None else _why_not(facts.me, facts.seen)
    if not facts.begun:
        return Refuse(why) if why else Take()
    if why and (facts.seen is not None or facts.over):
        return End(False, f"nothing was taken off: {why}")
    if why:
        return Wait()
    return Leave() if facts.drained else Drain()


def _why_not(me: str, seen: Seen) -> str:
    if not any(one.server and one.ready and one.name != me for one in seen.members):
        return "no other server of the site is Ready, by which this node could join again"
    return seen.busy or cost(me, seen.members)


def _joining(facts: RejoinFacts) -> Step:
    """The cluster's part is gone; formation goes on by itself, also after this command had its time."""
    if not facts.member and facts.ready:
        return Forming()
    if facts.member and facts.ready and _is_ready(facts):
        return End(True, "this node left the cluster, and is a Ready member of it again")
    if facts.over:
        return End(False, f"this node left the cluster, and is not a Ready member again yet: {facts.waits}")
    return Wait()


def _is_ready(facts: RejoinFacts) -> bool:
    return facts.seen is not None and any(one.name == facts.me and one.ready for one in facts.seen.members)
