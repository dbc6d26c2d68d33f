"""The next step of a worker towards its site's cluster, from what is known. Pure.

A worker decides nothing and counts in no majority: it waits until a server is a member, and joins by it in its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.contracts.siblings import FormationStatus, Stage
from edge_commander.formation.plan import AskSlot, Decide, Forget, Join, Stop, Wait, Watch
from edge_commander.formation.record import Part, Record
from edge_commander.reasons import NOTHING, Reason, Why

Step = Wait | Stop | Decide | Forget | AskSlot | Join | Watch


@dataclass(frozen=True)
class WorkerFacts:
    """As `plan.Facts`; `answers`: of servers alone. `Decide` means here: record that this node is a worker."""

    epoch: int
    record: Record
    clock: Reason = NOTHING
    answers: Mapping[str, FormationStatus] | None = None
    slot: tuple[str, ...] = ()
    kept: bool = False
    stopped: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Servers that answer and are members of this epoch's cluster."""
        said = self.answers or {}
        return tuple(
            sorted(node for node, one in said.items() if one.epoch == self.epoch and one.stage is Stage.MEMBER)
        )


def next_worker_step(facts: WorkerFacts) -> Step:
    """The one thing to do now. First rule that fits."""
    return _begun(facts) if facts.record.stage in (Stage.STARTED, Stage.MEMBER) else _joining(facts)


def _begun(facts: WorkerFacts) -> Step:
    record = facts.record
    if (older := _older(facts)) is not None:
        return older
    if not facts.kept:
        return Forget()
    if record.epoch != facts.epoch:
        return _over(facts, record.epoch)
    if record.part is not Part.WORKER:
        return Wait(Reason(Why.WIPE, "this node is a server of its cluster, the roster names it a worker"))
    return Watch() if record.stage is Stage.MEMBER else _joining(facts)


def _joining(facts: WorkerFacts) -> Step:
    record = facts.record
    if (older := _older(facts)) is not None:
        return older
    return _over(facts, record.older) if record.older else _in_turn(facts)  # `older`: it was a server, amid a rebuild


def _in_turn(facts: WorkerFacts) -> Step:
    record = facts.record
    if facts.clock != NOTHING:
        return Wait(facts.clock)
    if record.epoch < facts.epoch or record.part is not Part.WORKER:
        return Decide()
    if facts.slot:
        return Join(facts.slot)
    if not facts.members:
        return Wait(Reason(Why.FIRST, "no server that answers is a member yet"))
    return AskSlot(facts.members, fresh=record.stage is Stage.DECIDED)


def _over(facts: WorkerFacts, epoch: int) -> Step:
    """An older cluster's part here stops, and waits for a wipe: by the authorities of a snapshot its kubelet would pass
    for a member of the new one."""
    if not facts.stopped:
        return Stop()
    return Wait(Reason(Why.WIPE, f"the cluster of epoch {epoch} is over, the site is at {facts.epoch}"))


def _older(facts: WorkerFacts) -> Wait | None:
    seen = facts.record.epoch
    if seen <= facts.epoch:
        return None
    return Wait(Reason(Why.EPOCH, f"the roster is of epoch {facts.epoch}, this node saw {seen}"))
