"""The next step of a wipe on this node, from the command in hand to its answer. Pure: each step is a value.

The order, and why (docs/decisions/0059): nothing that may still refuse comes after the journal is armed; what takes
other nodes' time (Lease, grant) is taken before what takes long; pods go before outboxes are waited for, as both make
messages; and what nobody acknowledged is written down at the very end. After the boot the journal alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agents.contracts.messages import NodeState
from edge_commander.reasons import Reason, Why
from edge_commander.states import Event

MAX_BOOTS = 3
"""Starts with an armed journal that was not begun, before a person is called."""


class Grant(StrEnum):
    """The endpoint's word."""

    UNKNOWN = "unknown"
    GIVEN = "given"
    REFUSED = "refused"


@dataclass(frozen=True)
class Journal:
    """The journal's record of this very command. `phase`: as record.Phase; `unsent`: whether outboxes lost anything
    that is still to be declared."""

    phase: str
    problem: str = ""
    unsent: bool = False


@dataclass(frozen=True)
class Facts:
    """What was observed. Everything but `journal`, `state` and `boots` is asked for until the journal is armed alone.

    `kept_here`: the cluster is formed by this suite; `in_cluster`: this node was a Ready member of it. `api`: it
    answers; `server`: this node is one of its servers. `quorum`: why it may not go. `holder`: of the Lease, empty for
    nobody; `stale`: nobody will give it back. `busy`: who joins, is upgraded or renews. `held`: the Lease is ours;
    `noted`: that it is to be given back stands on `ident`.
    `snapshot_due`: one must be kept first; `snapshot`: what came of it, None: not yet; `snapshot_problem`: why not.
    `drained`, `heard`: that part is over, in whatever way. `waited`: s since the part that may be given up began.
    `boots`: starts since it was armed; `rebooting`: asked for just now. `ended`: the node's state tells the journal's
    end already.
    """

    retire: bool = False
    rebuild: bool = False
    state: NodeState = NodeState.READY
    journal: Journal | None = None
    me: str = "this node"
    kept_here: bool = True
    in_cluster: bool = True
    api: bool = True
    server: bool = True
    quorum: str = ""
    holder: str = ""
    stale: bool = False
    busy: str = ""
    noted: bool = True
    grant: Grant = Grant.UNKNOWN
    grant_why: str = ""
    snapshot_due: bool = False
    snapshot: bool | None = None
    snapshot_problem: str = ""
    cordoned: bool = False
    drained: bool = False
    heard: bool = False
    waited: float = 0.0
    patience: float = 300.0
    boots: int = 0
    rebooting: bool = False
    ended: bool = False

    @property
    def held(self) -> bool:
        """Whether the Lease is this node's."""
        return bool(self.me) and self.holder == self.me


@dataclass(frozen=True)
class Wait:
    """Nothing can be done now; looked at again. `reason` is what people see."""

    reason: Reason

    def describe(self) -> str:
        """For people."""
        return self.reason.text


@dataclass(frozen=True)
class Do:
    """One thing that is safe to do twice."""

    what: Literal[
        "take the lease", "ask for the grant", "take a snapshot", "cordon", "drain", "wait for the outboxes", "arm",
        "reboot", "declare what was lost",
    ]  # fmt: skip

    def describe(self) -> str:
        """For people."""
        return self.what


@dataclass(frozen=True)
class Move:
    """The node's state changes."""

    events: tuple[Event, ...]

    def describe(self) -> str:
        """For people."""
        return f"record: {', then '.join(one.value for one in self.events)}"


@dataclass(frozen=True)
class End:
    """The command's answer."""

    result: Literal["done", "failed", "refused"]
    detail: str

    def describe(self) -> str:
        """For people."""
        return f"answer: {self.result}: {self.detail}"


Step = Wait | Do | Move | End
_OPEN = frozenset({"armed", "running"})


def next_step(facts: Facts) -> Step:
    """The one thing to do now."""
    if facts.journal is not None:
        return _after(facts, facts.journal)
    if facts.state is NodeState.WIPING:  # it was armed: nothing is armed a second time
        return Wait(Reason(Why.WIPE_FAILED, "the journal does not hold the wipe that was armed"))
    return _cluster(facts) or _grant(facts) or _prepared(facts) or Do("arm")


def _cluster(facts: Facts) -> Step | None:
    """Whether the cluster can spare this node, and the Lease. A rebuild asks nobody: there may be nobody to ask."""
    if facts.rebuild or not facts.in_cluster:
        return None
    if not facts.api:
        detail = "the cluster's API did not answer, so its quorum is not known"
        return _patient(facts, Reason(Why.API), "failed", detail)
    if facts.quorum:
        return End("refused", f"it would cost the cluster its quorum: {facts.quorum}")
    return _lease(facts) if facts.kept_here and facts.server else None


def _lease(facts: Facts) -> Step | None:
    if facts.holder and not facts.held and not facts.stale:
        return End("refused", f"another node of this site is being wiped: {facts.holder}")
    if facts.busy:
        return _patient(facts, Reason(Why.TURN, facts.busy), "refused", facts.busy)
    return None if facts.held and facts.noted else Do("take the lease")


def _grant(facts: Facts) -> Step | None:
    if facts.grant is Grant.REFUSED:
        return End("refused", f"the endpoint does not grant it: {facts.grant_why}")
    return None if facts.grant is Grant.GIVEN else Do("ask for the grant")


def _prepared(facts: Facts) -> Step | None:
    """Snapshot, pods, outboxes."""
    if facts.snapshot_due and not facts.snapshot:
        if facts.snapshot is False:
            why = facts.snapshot_problem
            return End("failed", f"no snapshot could be kept first: {why}; the arg snapshot=no does without")
        return Do("take a snapshot")
    if facts.kept_here and facts.in_cluster and facts.api and not facts.drained:
        return Do("drain") if facts.cordoned else Do("cordon")
    return None if facts.heard else Do("wait for the outboxes")


def _patient(facts: Facts, reason: Reason, result: Literal["failed", "refused"], detail: str) -> Step:
    return End(result, detail) if facts.waited >= facts.patience else Wait(reason)


def _after(facts: Facts, journal: Journal) -> Step:
    """Armed: nothing refuses any more, and the journal is the truth."""
    if not facts.ended and (move := _move(facts, journal.phase)) is not None:
        return move
    if journal.phase in _OPEN:
        return _before_the_boot(facts)
    if journal.phase == "failed":
        return End("failed", journal.problem or "the early boot gave it up")
    if journal.phase == "refused":
        return End("refused", f"by the early boot, nothing was erased: {journal.problem}")
    return Do("declare what was lost") if journal.unsent else End("done", "erased, and read back")


def _before_the_boot(facts: Facts) -> Step:
    if facts.retire:  # after it there is nobody who could answer
        return End("done", "armed: the node erases itself at the boot that follows this answer, and is nobody after it")
    if facts.boots >= MAX_BOOTS:
        return Wait(Reason(Why.WIPE_FAILED, f"armed, and {MAX_BOOTS} starts did not carry it out"))
    return Wait(Reason(Why.WIPING, "the machine starts anew")) if facts.rebooting else Do("reboot")


_ENDS = {"done": Event.WIPED, "failed": Event.WIPE_FAILED, "refused": Event.WIPE_REFUSED}


def _move(facts: Facts, phase: str) -> Move | None:
    """What the node's state lacks of what the journal says. A crash may have come between any two writes: a state from
    before the arming gets both events; one from after the end gets none, and only that is noted."""
    settled = facts.state in (NodeState.ASSIGNED, NodeState.FORMING, NodeState.READY)
    if phase in _OPEN:
        return Move((Event.RETIRED if facts.retire else Event.WIPE_ARMED,)) if settled else None
    armed = (Event.WIPE_ARMED,) if settled else ()
    return Move((*armed, _ENDS[phase]) if settled or facts.state is NodeState.WIPING else ())
