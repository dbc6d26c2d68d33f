"""What the root half does with the journal of wipes: shows it, arms it, marks it as reported. Touches that partition.

Root takes nobody's word for a wipe: the signed command is judged here again, by what `ident` says, as early boot does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.contracts.command import Command
from agents.core.command_verify import CommandRefused, read_command
from agents.core.errors import Rejected, Retryable
from edge_commander.machine.wire import Ask
from edge_commander.settings import CommanderSettings
from edge_commander.wipe import record as records
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.evidence import warrant
from edge_commander.wipe.journal import Journal, TooLong
from edge_commander.wipe.record import Phase, Target, Unsent, WipeRecord
from edge_commander.wipe.warrant import judge, targets_of

T = TypeVar("T")


def state(own: CommanderSettings) -> Any:
    """The newest record without its command, as JSON has it; None where the journal has none. Raises Retryable where
    there is no journal: it may be late, and must not pass for an empty one."""
    record = _with(own, lambda journal: journal.record)
    if record is None:
        return None
    return {key: value for key, value in msgspec.to_builtins(record).items() if key != "command"}


def arm(ask: Ask, own: CommanderSettings, unsent: Callable[[], list[Unsent]]) -> str:
    """Records the wipe in both slots; from here on the next start carries it out. Its phase then. `unsent`: what the
    outboxes hold, asked where they go with it.

    The same command again changes nothing, whatever became of it. Raises Rejected for a command that this node does
    not believe, or that is not newer than the journal's; Retryable.
    """
    assert ask.command is not None
    try:
        command = judge(ask.command, warrant(own))
    except CommandRefused as refused:
        raise Rejected(f"{refused.code}: {refused}") from None
    signed = ask.command

    def write(journal: Journal) -> str:
        found = journal.record
        if found is not None and found.id == command.id:
            return found.phase.value
        if found is not None and (found.phase in records.OPEN or _later(found, command)):
            raise Rejected(f"the journal holds the wipe {found.id} of sequence {found.sequence}: {found.phase.value}")
        targets = targets_of(command)
        lost = unsent() if Target.VAR in targets else []
        journal.write_both(records.armed(signed, command, targets, lost))
        return Phase.ARMED.value

    return _with(own, write)


def _later(found: WipeRecord, command: Command) -> bool:
    """Whether the journal's wipe was ordered after that one. A site's sequences say nothing of another's: a box that
    was retired elsewhere brings its journal along."""
    try:
        site = read_command(found.command).site
    except CommandRefused:
        site = command.site
    return site == command.site and found.sequence >= command.sequence


def reported(command_id: str, own: CommanderSettings) -> bool:
    """The outbox has the end of the wipe `command_id`: said in both slots. False where the journal holds another, or
    one that did not end. Raises Retryable."""

    def write(journal: Journal) -> bool:
        found = journal.record
        if found is None or found.id != command_id or found.phase in records.OPEN:
            return False
        if not found.reported:
            journal.write_both(msgspec.structs.replace(found, reported=True))
        return True

    return _with(own, write)


def _with(own: CommanderSettings, use: Callable[[Journal], T]) -> T:
    try:
        with Disk(Path(own.wipe.journal)) as device:
            return use(Journal(device))
    except TooLong as error:
        raise Rejected(str(error)) from None
    except OSError as error:
        raise Retryable(f"{own.wipe.journal}: {error.strerror or error}") from None
