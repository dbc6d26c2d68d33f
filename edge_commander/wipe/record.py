"""What the journal holds of a wipe: the signed command, and how far each target is. Pure.

The order of things is docs/decisions/0055: armed, surveyed, then target after target erased, verified and made anew,
then done. Every change is a new record; the engine stores it before it acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.command import Command, SignedCommand
from agents.contracts.ids import Run, Seq, Stream
from agents.contracts.wipe import Target as Target  # noqa: PLC0414 - the engine's modules take it from here

MAX_TARGETS = 4
MAX_UNSENT = 32
MAX_RANGES = 64
"""With both full, a record still fits into its slot."""
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**60)]


class Method(StrEnum):
    """How a target's content is made unreadable."""

    BLOCKS = "blocks"  # every block is overwritten with zeros
    HEADER = "header"  # LUKS2: the headers and every key slot, without which the rest is noise


class Stage(StrEnum):
    """How far one target is."""

    ERASE = "erase"
    VERIFY = "verify"
    FORMAT = "format"
    DONE = "done"


class Phase(StrEnum):
    """How far the whole is. `failed` and `refused` end it: no later start goes on."""

    ARMED = "armed"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


OPEN = frozenset({Phase.ARMED, Phase.RUNNING})
"""Phases in which the next start has something to do."""


class TargetState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`size`: of the device, bytes, as surveyed. `area`: from the start, what is overwritten. `offset`: up to here it
    is overwritten and flushed. `failures`: how often reading it back found something else than zeros. `blank`: nothing
    is made on it here, as early boot makes it LUKS2 anew."""

    target: Target
    method: Method = Method.BLOCKS
    size: Bytes = 0
    area: Bytes = 0
    stage: Stage = Stage.ERASE
    offset: Bytes = 0
    failures: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    blank: bool = False


class Unsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of one daemon's outbox goes with the wipe and was not acknowledged. `ranges`: of `(a, b)`, both ends
    included, of the run `run`; a declaration of what was dropped is made of it once the wipe is done."""

    stream: Stream
    run: Run
    ranges: Annotated[list[tuple[Seq, Seq]], msgspec.Meta(min_length=1, max_length=MAX_RANGES)]


class WipeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One wipe. `command`: whole, so that early boot can judge it again; `id` and `sequence` are its own.

    `attempts`: starts since the last progress. `problem`: why it ended as it did. `reported`: the outbox has the end.
    `judged`: the operators' signature was judged, and `ident` is erased from here on: it can be asked no more.
    `unsent`: what of the outboxes on `var` nobody acknowledged when it was armed; old records have none.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    phase: Phase
    command: SignedCommand
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    targets: Annotated[list[TargetState], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]
    attempts: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    problem: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    reported: bool = False
    unsent: Annotated[list[Unsent], msgspec.Meta(max_length=MAX_UNSENT)] = []
    judged: bool = False


def armed(
    signed: SignedCommand, command: Command, targets: Sequence[Target], unsent: Sequence[Unsent] = ()
) -> WipeRecord:
    """The first record of a wipe, targets in the order of Target."""
    ordered = [one for one in Target if one in targets]
    return WipeRecord(
        phase=Phase.ARMED,
        command=signed,
        id=command.id,
        sequence=command.sequence,
        targets=[TargetState(target=one) for one in ordered],
        unsent=list(unsent),
    )


def surveyed(record: WipeRecord, targets: Sequence[TargetState]) -> WipeRecord:
    """It is known how each target is erased, and nothing was touched yet."""
    return msgspec.structs.replace(record, phase=Phase.RUNNING, targets=list(targets), attempts=0)


def attempted(record: WipeRecord) -> WipeRecord:
    """One more start."""
    return msgspec.structs.replace(record, attempts=record.attempts + 1)


def troubled(record: WipeRecord, problem: str) -> WipeRecord:
    """A start that a device ended, and why."""
    return msgspec.structs.replace(record, problem=problem[:1024])


def moved(record: WipeRecord, state: TargetState) -> WipeRecord:
    """One target got on; attempts are counted anew, as only those that achieve nothing are bounded."""
    targets = [state if one.target is state.target else one for one in record.targets]
    return msgspec.structs.replace(record, targets=targets, attempts=0, problem="")


def erased_to(state: TargetState, offset: int) -> TargetState:
    """Overwritten and flushed up to there."""
    stage = Stage.VERIFY if offset >= state.area else Stage.ERASE
    return msgspec.structs.replace(state, offset=min(offset, state.area), stage=stage)


def verified(state: TargetState) -> TargetState:
    """Read back whole, and all zeros."""
    blank = state.blank or state.method is Method.HEADER
    return msgspec.structs.replace(state, stage=Stage.DONE if blank else Stage.FORMAT)


def found_dirty(state: TargetState) -> TargetState:
    """Read back, something else than zeros was there: from the start again."""
    return msgspec.structs.replace(state, stage=Stage.ERASE, offset=0, failures=state.failures + 1)


def formatted(state: TargetState) -> TargetState:
    """The new file system is on it, flushed."""
    return msgspec.structs.replace(state, stage=Stage.DONE)


def ended(record: WipeRecord, phase: Phase, problem: str = "") -> WipeRecord:
    """It is over."""
    if phase in OPEN:
        raise ValueError(f"{phase.value} is no end")
    return msgspec.structs.replace(record, phase=phase, problem=problem[:1024])
