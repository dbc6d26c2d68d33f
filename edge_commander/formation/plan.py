"""The next step towards one cluster, from what is known: leaves no choice to who carries it out. Pure.

Safety does not hang on timing: a node begins `init` only where the decision of the epoch names it, its own record says
that it never began anything else, and the epoch's secrets, which it made before, still lie on its disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, Stage
from edge_commander.distribution.port import ClusterMember
from edge_commander.formation import rebuild
from edge_commander.formation.record import Part, Record
from edge_commander.reasons import NOTHING, Reason, Why


@dataclass(frozen=True)
class Facts:
    """What is known now. `epoch`, `roster`: of the newest verified document. `clock`: NOTHING, or why it cannot be
    trusted. `answers`: siblings that answered just now. `secrets`: those of `epoch` are here. `slot`: addresses of
    servers to join, once it is this node's turn. `generation`: of those secrets. `kept`: `var` was not wiped since the
    cluster was begun on it. `restore`: the epoch's cluster is made of a snapshot. `stopped`: the older cluster's part
    here is down. `snapshot`: rebuild.mark; `waited`: for how long it has known its own snapshots, s."""

    me: str
    epoch: int
    roster: tuple[Member, ...]
    record: Record
    clock: Reason = NOTHING
    answers: Mapping[str, FormationStatus] | None = None
    secrets: bool = False
    slot: tuple[str, ...] = ()
    kept: bool = False
    generation: int = 0
    restore: bool = False
    stopped: bool = False
    snapshot: str = ""
    waited: float = 0.0

    @property
    def known(self) -> Mapping[str, FormationStatus]:
        """Siblings' answers about this epoch."""
        return {node: said for node, said in (self.answers or {}).items() if said.epoch == self.epoch}

    @property
    def others(self) -> frozenset[str]:
        """Siblings that answered, of whatever epoch."""
        return frozenset(self.answers or ())


@dataclass(frozen=True)
class Wait:
    """Nothing to do but to look again; `reason` for people."""

    reason: Reason


@dataclass(frozen=True)
class Decide:
    """Ask who initialises: the endpoint, or the siblings' election. `begins`: this node may be it; `why_not`."""

    begins: bool = True
    why_not: str = ""


@dataclass(frozen=True)
class Stop:
    """Bring the older cluster's part on this node down, and keep it down."""


@dataclass(frozen=True)
class LookForSnapshots:
    """Read which snapshots lie on this node."""


@dataclass(frozen=True)
class Clear:
    """Take what the older cluster left off this node, `Distribution.reset`: an operator's word allows it."""


@dataclass(frozen=True)
class Forget:
    """The cluster's data is gone from this disk: from now on this node may only join."""


@dataclass(frozen=True)
class MakeSecrets:
    """Make the site's authorities; only the initialiser, before it begins."""


@dataclass(frozen=True)
class FetchSecrets:
    """Get the epoch's secrets from one of these siblings."""

    holders: tuple[str, ...]


@dataclass(frozen=True)
class AskSlot:
    """Ask one of these members whether it is this node's turn to join. `fresh`: nothing was begun here."""

    members: tuple[str, ...]
    fresh: bool


@dataclass(frozen=True)
class Init:
    """Record that it begins, then `Distribution.init`."""


@dataclass(frozen=True)
class Join:
    """Record that it begins, then `Distribution.join` by these servers."""

    servers: tuple[str, ...]


@dataclass(frozen=True)
class Watch:
    """It is a member: look at the cluster."""


Step = (
    Wait
    | Decide
    | Stop
    | LookForSnapshots
    | Clear
    | Forget
    | MakeSecrets
    | FetchSecrets
    | AskSlot
    | Init
    | Join
    | Watch
)


def leaving(me: str, roster: Sequence[str], members: Sequence[ClusterMember]) -> str | None:
    """A member of the cluster that the roster no longer names, where it is this node's turn to take it out: of the
    Ready servers that the roster does name, the first. `me`, `roster`: Nodes' names.

    Only while the roster names more than half of the cluster's servers: an endpoint in wrong hands may shrink it, and
    must not take a cluster apart by that.
    """
    servers = [one.name for one in members if one.server]
    if sum(name in roster for name in servers) < majority(len(servers)):
        return None
    ready = sorted(one.name for one in members if one.ready and one.server and one.name in roster)
    gone = sorted(one.name for one in members if one.name not in roster)
    return gone[0] if gone and ready[:1] == [me] else None


def agreed(generation: int, others: Collection[str], answers: Mapping[str, FormationStatus]) -> bool:
    """Whether every sibling of the roster answers, and none knows a newer one: each node hears of a newcomer at its own
    time, and who has not yet must not take it for one that left. `others`: node ids."""
    return all(node in answers and answers[node].generation <= generation for node in others)


def majority(count: int) -> int:
    """How many of `count` are more than half."""
    return count // 2 + 1


def next_step(facts: Facts) -> Step:
    """The one thing to do now. First rule that fits."""
    return _other_epoch(facts) or _within(facts)


def _other_epoch(facts: Facts) -> Step | None:
    """An older roster is never followed; an older cluster stops, and is touched no further without a person's word: a
    wipe, or that the site is restored."""
    record = facts.record
    if record.epoch > facts.epoch:
        return Wait(Reason(Why.EPOCH, f"the roster is of epoch {facts.epoch}, this node saw {record.epoch}"))
    began = record.epoch < facts.epoch and record.stage in (Stage.STARTED, Stage.MEMBER)
    older = record.epoch if began and facts.kept else record.older
    if not older:
        return None
    if not facts.stopped:
        return Stop()
    if not facts.restore:
        return Wait(Reason(Why.WIPE, f"the cluster of epoch {older} is over, the site is at {facts.epoch}"))
    if record.epoch == facts.epoch:
        return None
    return Wait(facts.clock) if facts.clock != NOTHING else _undecided(facts)


def _within(facts: Facts) -> Step:
    record = facts.record
    if record.part is Part.WORKER and record.epoch == facts.epoch:
        return _was_worker(facts)
    if record.stage in (Stage.STARTED, Stage.MEMBER) and not facts.secrets:
        return _fetching(facts) if facts.kept else Forget()  # one damaged file makes no fresh box of a member
    if record.stage is Stage.MEMBER:
        return Watch()
    if facts.clock != NOTHING:
        return Wait(facts.clock)
    if record.epoch < facts.epoch or record.stage is Stage.NONE:
        return _undecided(facts)
    return _initialising(facts) if record.part is Part.INIT else _joining(facts)


def _was_worker(facts: Facts) -> Step:
    """The roster made a server of a worker: what it was goes first, then it is decided as for any new server."""
    if facts.record.stage is Stage.DECIDED:
        return _too_few(facts) or Decide()
    return (
        Wait(Reason(Why.WIPE, "this node is a worker of its cluster, the roster names it a server"))
        if facts.kept
        else Forget()
    )


def _too_few(facts: Facts) -> Wait | None:
    """More than half of the site must be there to begin: no lone box does, and whoever knows better is heard."""
    there = {facts.me} | set(facts.answers or {})
    need, count = majority(len(facts.roster)), len(facts.roster)
    if len(there) >= need:
        return None
    return Wait(Reason(Why.SIBLINGS, f"{len(there)} of {count} answer, {need} are needed"))


def _undecided(facts: Facts) -> Step:
    if (wait := _too_few(facts)) is not None or not facts.restore:
        return wait or Decide()
    if not facts.snapshot:
        return LookForSnapshots()
    why_not = rebuild.why_not(facts.snapshot, facts.known, facts.others, facts.waited)
    return Decide(begins=not why_not, why_not=why_not)


def _initialising(facts: Facts) -> Step:
    """A sibling that has the epoch's secrets has them from a cluster that was begun: then this record is an old copy
    of the disk, and whoever stands in it may only join. Once it began, it goes on alone."""
    if facts.record.stage is Stage.DECIDED:
        if any(said.secrets or said.stage in (Stage.STARTED, Stage.MEMBER) for said in facts.known.values()):
            return Forget()
        if (wait := _too_few(facts)) is not None:
            return wait
    if not facts.secrets:
        return MakeSecrets()
    return Clear() if facts.record.older else Init()


def _fetching(facts: Facts) -> Step:
    holders = tuple(sorted(node for node, said in facts.known.items() if said.secrets))
    if holders:
        return FetchSecrets(holders)
    return Wait(Reason(Why.SECRETS, _lost(facts) or "no sibling that answers has the site's secrets yet"))


def _lost(facts: Facts) -> str:
    """Where the first server left the roster, or is this very node, what no waiting will bring; empty where it may
    still come. It may have begun, so nobody takes its place within the epoch."""
    first = facts.record.initialiser
    if first == facts.me:
        return "the cluster that this node began is not on its disk: it may only join, a member must be there"
    if any(one.node == first for one in facts.roster):
        return ""
    return f"the first server, {first}, left the roster: where no member lives, only the next epoch helps"


def _joining(facts: Facts) -> Step:
    known = facts.known
    if not facts.secrets:
        return _fetching(facts)
    if newer := tuple(sorted(node for node, said in known.items() if said.secrets and said.holds > facts.generation)):
        return FetchSecrets(newer)
    if facts.slot:
        return Join(facts.slot)
    members = tuple(sorted(node for node, said in known.items() if said.stage is Stage.MEMBER))
    if not members:
        return Wait(Reason(Why.FIRST, _lost(facts) or "no sibling that answers is a member yet"))
    if facts.record.older:  # not before the new cluster stands: until then a person may still need the old data
        return Clear()
    return AskSlot(members, fresh=facts.record.stage is Stage.DECIDED)
