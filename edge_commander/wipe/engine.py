"""Carries a wipe out, step by step, each recorded before the next. Touches journal and targets.

Killed anywhere, the next start goes on from the newest record; what is done twice ends as if it had been done once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

from agents.contracts.command import Command
from agents.core.command_verify import CommandRefused, read_command
from agents.core.errors import Rejected
from edge_commander.wipe import plan as plans
from edge_commander.wipe import record as records
from edge_commander.wipe.blocks import CHUNK, BlockDevice
from edge_commander.wipe.journal import Journal
from edge_commander.wipe.luks import LOOK
from edge_commander.wipe.record import Phase, Target, TargetState, WipeRecord
from edge_commander.wipe.warrant import NoOperators, Warrant, judge_record

RECORD_EVERY = 64 * 1024 * 1024
"""How much is overwritten and flushed before the journal learns of it, bytes."""


class Disks(Protocol):
    """The targets' devices. Each call raises OSError."""

    def open(self, target: Target) -> AbstractContextManager[BlockDevice]:
        """Exclusively, for as long as the context lasts."""

    def format(self, target: Target, command: Command) -> None:
        """Makes the new file system, durable when it returns."""


@dataclass(frozen=True)
class Engine:
    """`warrant` None: what this node would believe could not be read, so nothing is erased. `say`: one line for the
    console. `pause`: waits between two attempts. `every`: see RECORD_EVERY. `blank`: early boot makes targets anew."""

    journal: Journal
    disks: Disks
    warrant: Callable[[], Warrant]
    say: Callable[[str], None]
    pause: Callable[[], None]
    every: int = RECORD_EVERY
    blank: bool = False

    def run(self) -> WipeRecord | None:
        """Everything that is to be done now; the record then, None where the journal is empty.

        Raises OSError when the journal cannot be written: nothing more is touched then, and the next start goes on.
        """
        record = self.journal.record
        if record is None or record.phase not in records.OPEN:
            return record
        try:
            command = self._judged(record)
        except CommandRefused as refused:
            self.say(f"refused, nothing is erased: {refused.code}: {refused}")
            return self._end(record, Phase.REFUSED, f"{refused.code}: {refused}")
        while record.phase in records.OPEN:
            record = records.attempted(record)
            self.journal.write(record)
            record = self._attempt(record, command)
        return record

    def _judged(self, record: WipeRecord) -> Command:
        """The command. Where `ident` is half erased it cannot be asked again: what was judged before counts then, by
        the journal. Who can write that there can write zeros over the whole disk as well; with an `ident` that is whole
        it helps him to nothing. Raises CommandRefused, Rejected."""
        try:
            warrant = self.warrant()
        except Rejected as error:
            if record.phase is not Phase.RUNNING or not record.judged or isinstance(error, NoOperators):
                raise
            self.say("ident is erased in part, so what was judged before counts")
            return read_command(record.command)
        return judge_record(record, warrant)

    def _attempt(self, record: WipeRecord, command: Command) -> WipeRecord:
        """Steps until the end, or until a target's device refuses; then the record says why."""
        while True:
            step = plans.next_step(record)
            match step:
                case plans.Idle():
                    return record
                case plans.Complete():
                    self.say(step.describe())
                    return self._end(record, Phase.DONE)
                case plans.Fail(why):
                    self.say(step.describe())
                    return self._end(record, Phase.FAILED, why)
            self.say(step.describe())
            try:
                changed = self._take(step, record, command)
            except TargetError as error:
                self.say(f"{error}; tried again")
                self.pause()
                return self._stored(error.record, problem=str(error))
            record = changed

    def _take(self, step: plans.Step, record: WipeRecord, command: Command) -> WipeRecord:
        match step:
            case plans.Survey(targets):
                record = records.surveyed(record, [self._survey(one, record) for one in targets])
                self.journal.write_both(record)  # whichever slot is lost, how it is erased does not change
            case plans.Erase(state):
                if state.target is Target.IDENT and not record.judged:
                    record = msgspec.structs.replace(record, judged=True)
                    self.journal.write_both(record)  # before its first byte
                record = self._erase(record, state)
            case plans.Verify(state):
                record = self._store(record, self._verified(record, state))
            case plans.Format(state):
                try:
                    self.disks.format(state.target, command)
                except OSError as error:
                    raise TargetError(state.target, error, record) from None
                record = self._store(record, records.formatted(state))
        return record

    def _survey(self, target: Target, record: WipeRecord) -> TargetState:
        try:
            with self.disks.open(target) as device:
                return plans.state_of(target, device.size, device.read(0, LOOK), blank=self.blank)
        except OSError as error:
            raise TargetError(target, error, record) from None

    def _erase(self, record: WipeRecord, state: TargetState) -> WipeRecord:
        """From where the journal says on; flushed before the journal says more."""
        try:
            with self.disks.open(state.target) as device:
                _same(device, state)
                while state.stage is records.Stage.ERASE:
                    end = min(state.area, state.offset + self.every)
                    device.zero(state.offset, end - state.offset)
                    device.flush()
                    state = records.erased_to(state, end)
                    record = self._store(record, state)
        except JournalError:
            raise
        except OSError as error:
            raise TargetError(state.target, error, record) from None
        return record

    def _verified(self, record: WipeRecord, state: TargetState) -> TargetState:
        zeros = bytes(CHUNK)
        try:
            with self.disks.open(state.target) as device:
                _same(device, state)
                for offset in range(0, state.area, CHUNK):
                    length = min(CHUNK, state.area - offset)
                    if device.read(offset, length) != (zeros if length == CHUNK else zeros[:length]):
                        self.say(f"{state.target.value}: what was written is not there, between {offset} and the next")
                        return records.found_dirty(state)
        except OSError as error:
            raise TargetError(state.target, error, record) from None
        return records.verified(state)

    def _store(self, record: WipeRecord, state: TargetState) -> WipeRecord:
        record = records.moved(record, state)
        try:
            self.journal.write(record)
        except OSError as error:
            raise JournalError(f"the journal: {error}") from None
        return record

    def _stored(self, record: WipeRecord, *, problem: str) -> WipeRecord:
        record = records.troubled(record, problem)
        self.journal.write(record)
        return record

    def _end(self, record: WipeRecord, phase: Phase, problem: str = "") -> WipeRecord:
        record = records.ended(record, phase, problem)
        self.journal.write_both(record)
        return record


class JournalError(OSError):
    """The journal cannot be written; nothing more may be touched."""


class TargetError(Exception):
    """A target's device refused. `record`: how far it is."""

    def __init__(self, target: Target, error: OSError, record: WipeRecord) -> None:
        super().__init__(f"{target.value}: {error.strerror or error}")
        self.record = record


def _same(device: BlockDevice, state: TargetState) -> None:
    if device.size != state.size:
        raise OSError(f"has {device.size} bytes now, and had {state.size}")
