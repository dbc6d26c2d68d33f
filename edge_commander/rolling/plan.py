"""The next step of one node towards the version that was ordered, from what is known. Pure.

One node at a time, by a turn that lies in the cluster; whoever has it gives it back only when it is well again. Where
it never does, or its upgrade fails, the rest is stopped until an operator orders anew: a version that one node cannot
run must not take the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge_commander.distribution.port import ClusterMember
from edge_commander.reasons import Reason, Why

MAX_TRIES = 3
"""Of one node's upgrade, also over crashes; then the order is stopped."""
LOST_SECONDS = 1800.0
"""A holder that is not Ready so long after its turn was first seen does not come back."""
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:\+k3s(\d+))?")


@dataclass(frozen=True)
class Turn:
    """The Lease as it was read. `holder`: a Node's name, empty while it is free; `order`: the number of the order that
    it was last taken for; `tries`: upgrades that the holder began; `stopped`: the node that stopped that order, and
    `why`."""

    holder: str = ""
    order: int = 0
    tries: int = 0
    stopped: str = ""
    why: str = ""


@dataclass(frozen=True)
class Drained:
    """How far the pods are gone. `left`: those that do not go, once their time is over; None: it is not over."""

    done: bool = False
    left: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Facts:
    """What is known now. `number` 0: there is no order. `expected`: Nodes' names by the roster. `here`: the version's
    programs lie on this node. `api`: this node's own API server answers, with its etcd. `cordoned`: nothing is
    scheduled on it, `marked`: because we said so. `joining`: another node whose turn to do so it is; `renewing`: any,
    also this one; `wiping`: a Ready one that is about to be wiped. `lost`: the holder has had its time. Of this
    process: `upgraded`: it went through; `failed`: why the last try did not, `refused`: and never will, `rests`: that
    was a moment ago. `go_on`: pods that do not go in time stop nothing."""

    me: str
    number: int
    version: str
    expected: tuple[str, ...]
    members: Sequence[ClusterMember]
    turn: Turn = field(default_factory=Turn)
    here: bool = True
    api: bool = True
    cordoned: bool = False
    marked: bool = False
    joining: str = ""
    renewing: str = ""
    wiping: str = ""
    lost: bool = False
    drained: Drained = field(default_factory=Drained)
    upgraded: bool = False
    failed: str = ""
    refused: bool = False
    rests: bool = False
    go_on: bool = True

    @property
    def own(self) -> ClusterMember | None:
        """This node, as the cluster has it."""
        return next((one for one in self.members if one.name == self.me), None)

    @property
    def right(self) -> bool:
        """Whether it runs the version already."""
        return self.own is not None and plain(self.own.version) == plain(self.version)


@dataclass(frozen=True)
class Idle:
    """Nothing is left to do for this order."""


@dataclass(frozen=True)
class Wait:
    """Look again; `reason` for people. `holding`: it is this node's turn."""

    reason: Reason
    holding: bool = False


@dataclass(frozen=True)
class Put:
    """Replace the Lease, compare and set: take the turn, give it back, or stop the order. `word` for the journal."""

    turn: Turn
    word: Literal["take", "give back", "stop"]


@dataclass(frozen=True)
class Cordon:
    """Let nothing new be scheduled here, and mark that it was us."""


@dataclass(frozen=True)
class Drain:
    """Ask for the eviction of every pod that can run elsewhere."""


@dataclass(frozen=True)
class Upgrade:
    """Note the try, where it is a new one, then `Distribution.upgrade`."""

    turn: Turn


@dataclass(frozen=True)
class Uncordon:
    """Take our mark away, and let pods be scheduled here."""


Step = Idle | Wait | Put | Cordon | Drain | Upgrade | Uncordon


def plain(version: str) -> str:
    """Without `v`: distributions and Nodes do not agree on it."""
    return version.removeprefix("v")


def unfit(now: str, wanted: str) -> str:
    """Why a node may not go from `now` to `wanted`; empty when it may. Source: Kubernetes' version skew policy."""
    old, new = _NUMBERS.fullmatch(now), _NUMBERS.fullmatch(wanted)
    if old is None or new is None:
        return f"{plain(now)} and {plain(wanted)} cannot be compared"
    before, after = (tuple(int(part or 0) for part in found.groups()) for found in (old, new))
    if after < before:
        return f"a node does not go back: {plain(now)} to {plain(wanted)}"
    if after[0] != before[0] or after[1] > before[1] + 1:
        return f"minor versions may not be skipped: {plain(now)} to {plain(wanted)}"
    return ""


def next_step(facts: Facts) -> Step:
    """The one thing to do now. First rule that fits."""
    turn, mine = facts.turn, facts.turn.holder == facts.me
    if facts.own is None:
        return Wait(Reason(Why.MEMBER, f"no Node {facts.me}"), mine)
    if facts.number == 0:
        return _leave(facts, turn, Idle())
    if turn.order > facts.number:
        return Idle() if facts.right else Wait(Reason(Why.TURN, "a newer order is under way than this node knows"))
    if turn.stopped and turn.order == facts.number:
        return _stopped(facts)
    return _holding(facts) if mine else _asking(facts)


def _leave(facts: Facts, turn: Turn, then: Step) -> Step:
    """Puts back what is ours, and then that."""
    if facts.marked:
        return Uncordon()
    if turn.holder == facts.me:
        return Put(Turn(order=turn.order), "give back")
    return then


def _stopped(facts: Facts) -> Step:
    assert facts.own is not None
    if facts.marked and facts.own.ready:  # it serves, in whatever version
        return Uncordon()
    if facts.right and not facts.marked:
        return Idle()
    return Wait(Reason(Why.STOPPED, f"{facts.turn.stopped}: {facts.turn.why}"))


def _asking(facts: Facts) -> Step:
    assert facts.own is not None
    turn = facts.turn
    if facts.right:
        return Uncordon() if facts.marked else Idle()
    if problem := _problem(facts):
        return Wait(problem)
    holder = next((one for one in facts.members if one.name == turn.holder), None)
    if holder is not None:
        if facts.lost and not holder.ready:
            return Put(Turn(order=turn.order, stopped=holder.name, why="it did not come back"), "stop")
        return Wait(Reason(Why.TURN, f"{holder.name} is upgraded"))
    if (reason := _not_whole(facts)) is not None:
        return Wait(reason)
    return Put(Turn(facts.me, facts.number), "take")


def _problem(facts: Facts) -> Reason | None:
    """Why this node cannot go to that version at all."""
    assert facts.own is not None
    if text := unfit(facts.own.version, facts.version):
        return Reason(Why.STOPPED, text)
    return None if facts.here else Reason(Why.VERSION, plain(facts.version))


def _not_whole(facts: Facts, but: str = "") -> Reason | None:
    """Why now is no time to take a node away: one is missing, not Ready, or about to join."""
    there = {one.name for one in facts.members}
    if missing := sorted(set(facts.expected) - there):
        return Reason(Why.WHOLE, f"{missing[0]} is no member yet")
    if unready := sorted(one.name for one in facts.members if not one.ready and one.name != but):
        return Reason(Why.WHOLE, f"{unready[0]} is not Ready")
    if (busy := _busy(facts, but)) is not None:
        return busy
    if not facts.api and not but:
        return Reason(Why.WHOLE, "this node's own API server does not answer")
    return None


def _busy(facts: Facts, but: str) -> Reason | None:
    """Who else's turn it is."""
    if facts.joining:
        return Reason(Why.WHOLE, f"{facts.joining} is joining")
    if facts.renewing and facts.renewing != but:
        return Reason(Why.WHOLE, f"{facts.renewing} renews its certificates")
    return Reason(Why.WHOLE, f"{facts.wiping} is being wiped") if facts.wiping else None


def _holding(facts: Facts) -> Step:
    turn = facts.turn
    if turn.order < facts.number:
        return Put(Turn(facts.me, facts.number), "take")
    if facts.right:
        return _ending(facts)
    if turn.tries:
        return _again(facts)
    if _problem(facts) is not None or facts.joining or facts.renewing or facts.wiping:  # these go first
        return _leave(facts, turn, Idle())
    if (reason := _not_whole(facts)) is not None:
        return Wait(reason, holding=True)
    return _emptied(facts) if facts.cordoned or facts.marked else Cordon()


def _again(facts: Facts) -> Step:
    """A try was begun, and the version is not there: it failed, or a crash cut it short."""
    turn = facts.turn
    if facts.upgraded or facts.rests:
        return Wait(Reason(Why.STARTING, facts.failed or "the cluster has not heard of it yet"), holding=True)
    if facts.refused or turn.tries >= MAX_TRIES:
        why = facts.failed or f"{turn.tries} tries did not go through"
        return Put(Turn(order=turn.order, stopped=facts.me, why=why), "stop")
    if facts.joining:  # which waits for this turn to end
        why = f"{facts.joining} has to join first; {facts.failed}".rstrip("; ")
        return Put(Turn(order=turn.order, stopped=facts.me, why=why), "stop")
    if (reason := _not_whole(facts, but=facts.me)) is not None:
        return Wait(reason, holding=True)
    return _emptied(facts)


def _emptied(facts: Facts) -> Step:
    """It is cordoned: pods go first, then the upgrade."""
    turn, drained = facts.turn, facts.drained
    if not drained.done and drained.left is None:
        return Drain()
    if drained.left and not facts.go_on:
        text = f"pods do not go: {', '.join(drained.left[:3])}"
        return Put(Turn(order=turn.order, stopped=facts.me, why=text), "stop")
    return Upgrade(Turn(facts.me, turn.order, turn.tries + 1))


def _ending(facts: Facts) -> Step:
    """It runs the version: what is left is to see that it is well, and to give the turn back."""
    assert facts.own is not None
    if not facts.upgraded and not facts.failed and facts.turn.tries:  # after a crash: what is left of it, if anything
        return Upgrade(facts.turn)
    if not facts.own.ready or not facts.api:
        return Wait(Reason(Why.STARTING, f"{plain(facts.version)} runs, it is not Ready yet"), holding=True)
    return _leave(facts, facts.turn, Idle())
