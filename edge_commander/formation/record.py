"""A node's part in its site's cluster, as it stands on `ident`. One table of transitions; raises on any other. Pure.

The part is decided once an epoch and never flips (kairos issue 3834): from STARTED on a node can only go on with
what it began, and one whose cluster data is gone may only join (k3k issue 836).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.siblings import Stage


class Part(StrEnum):
    """What this node does for the cluster of an epoch."""

    INIT = "init"
    JOIN = "join"
    WORKER = "worker"  # joins too, and carries no control plane


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`formation.json`. `epoch` 0: none yet. `part` None until decided; `initialiser`: whose cluster it is. `restore`:
    it is made of a snapshot. `older`: the epoch of the cluster whose data still lie on `var`, 0 for none. `left`:
    the id of the command by which this node gave its membership up, the last time; kept over epochs."""

    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    stage: Stage = Stage.NONE
    part: Part | None = None
    initialiser: str = ""
    restore: bool = False
    older: Annotated[int, msgspec.Meta(ge=0)] = 0
    left: Annotated[str, msgspec.Meta(max_length=32)] = ""


class Happening(StrEnum):
    """What moves a record."""

    DECIDED = "decided"
    STARTED = "started"
    MEMBER = "member"
    CLEARED = "cleared"  # what an older cluster left on this disk was taken off, by an operator's word
    EMPTIED = "emptied"  # the cluster's data on this disk is gone, by a wipe or a loss


class IllegalStep(Exception):
    """The table does not list this: a bug, never bad input."""


_TABLE: dict[tuple[Stage, Happening], Stage] = {
    (Stage.NONE, Happening.DECIDED): Stage.DECIDED,
    (Stage.DECIDED, Happening.STARTED): Stage.STARTED,
    (Stage.STARTED, Happening.MEMBER): Stage.MEMBER,
    (Stage.DECIDED, Happening.CLEARED): Stage.DECIDED,
    (Stage.DECIDED, Happening.EMPTIED): Stage.DECIDED,
    (Stage.STARTED, Happening.EMPTIED): Stage.DECIDED,
    (Stage.MEMBER, Happening.EMPTIED): Stage.DECIDED,
}


def decided(record: Record, *, epoch: int, initialiser: str, may_begin: bool, restore: bool = False) -> Record:
    """Whose cluster it is to be, whether this very box may begin it, and whether of a snapshot. Raises IllegalStep
    within an epoch that has begun, or for an older one."""
    undecided = record.stage is Stage.NONE or (record.stage is Stage.DECIDED and record.part is Part.WORKER)
    if epoch < record.epoch or (epoch == record.epoch and not undecided):
        raise IllegalStep(f"epoch {epoch} is decided at stage {record.stage.value} of epoch {record.epoch}")
    part = Part.INIT if may_begin else Part.JOIN
    older = record.epoch if record.stage in (Stage.STARTED, Stage.MEMBER) else record.older
    return Record(
        epoch=epoch, stage=Stage.DECIDED, part=part, initialiser=initialiser, restore=restore, older=older,
        left=record.left,
    )  # fmt: skip


def worker(record: Record, *, epoch: int) -> Record:
    """This node is a worker of that epoch's cluster: nothing is to be decided. Raises IllegalStep where the record has
    begun anything in it, or for an older one."""
    if epoch < record.epoch or (epoch == record.epoch and record.stage in (Stage.STARTED, Stage.MEMBER)):
        raise IllegalStep(f"made a worker at stage {record.stage.value} of epoch {record.epoch}")
    return Record(epoch=epoch, stage=Stage.DECIDED, part=Part.WORKER, left=record.left)


def loaded(record: Record, copy: Record | None, *, damaged: bool) -> Record:
    """The record at a start. What an older cluster left went with `var`, where no copy lies there; `damaged`: the copy
    alone is gone."""
    return record if copy is not None or damaged else msgspec.structs.replace(record, older=0)


def is_kept(record: Record, copy: Record | None) -> bool:
    """Whether the cluster's data still lie on `var`: the copy beside them says that this epoch was begun."""
    return copy is not None and copy.epoch == record.epoch and copy.stage in (Stage.STARTED, Stage.MEMBER)


def happened(record: Record, what: Happening) -> Record:
    """The record after STARTED, MEMBER, CLEARED or EMPTIED. After EMPTIED a server's part is JOIN for ever in this
    epoch."""
    try:
        stage = _TABLE[record.stage, what]
    except KeyError:
        raise IllegalStep(f"{what.value} cannot happen at stage {record.stage.value}") from None
    part = Part.JOIN if what is Happening.EMPTIED and record.part is not Part.WORKER else record.part
    older = 0 if what is Happening.CLEARED else record.older
    return msgspec.structs.replace(record, stage=stage, part=part, older=older)
