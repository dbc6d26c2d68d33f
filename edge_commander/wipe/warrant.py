"""Whether an armed wipe stands on an operator's signature for this very node. Pure.

Judged when it is armed, and again in early boot from what lies on the disks alone: a journal that somebody wrote by
himself erases nothing. Expiry and challenge were judged when the command was taken; a power cut may last longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.contracts.command import Command, SignedCommand
from agents.core.command_rules import ERASES, ill_formed
from agents.core.command_verify import CommandKeys, CommandRefused, read_command, verify_command
from agents.core.errors import Rejected
from agents.core.jose import Jwk
from edge_commander.wipe.record import Target, WipeRecord


class NoOperators(Rejected):
    """Nobody is known whose word counts here: the configuration was not there, or names nobody. That says nothing of a
    command."""


@dataclass(frozen=True)
class Warrant:
    """Who this node is and whose word counts here. `operators`: Ed25519 public keys by thumbprint; `threshold`: how
    many of them must have signed what goes past a blast radius."""

    site: str
    node: str
    operators: Mapping[str, Jwk]
    threshold: int


def targets_of(command: Command) -> list[Target]:
    """The targets that a command names. Raises CommandRefused for a verb that erases nothing, and for targets or args
    that the verb does not take."""
    if command.verb not in ERASES:
        raise CommandRefused("verb", f"{command.verb.value} erases nothing")
    if (wrong := ill_formed(command)) is not None:
        raise CommandRefused(*wrong)
    return [Target(name) for name in command.targets]


def judge(signed: SignedCommand, warrant: Warrant) -> Command:
    """The command, where operators signed it for this node. Raises CommandRefused."""
    targets_of(read_command(signed))
    return believed(signed, warrant)


def believed(signed: SignedCommand, warrant: Warrant) -> Command:
    """The same for a command of any verb. Raises CommandRefused."""
    claimed = read_command(signed)
    return verify_command(
        signed,
        CommandKeys(operators=warrant.operators, threshold=warrant.threshold),
        site=warrant.site,
        node=warrant.node,
        now=claimed.issued,
        after=0,
        challenges=None,
    )


def judge_record(record: WipeRecord, warrant: Warrant) -> Command:
    """The same for a journal's record, whose own words must be the command's. Raises CommandRefused."""
    command = judge(record.command, warrant)
    if (record.id, record.sequence) != (command.id, command.sequence):
        raise CommandRefused("record", "the record's id or sequence is not the command's")
    if {one.target for one in record.targets} != set(targets_of(command)) or len(record.targets) != len(
        command.targets
    ):
        raise CommandRefused("record", "the record's targets are not the command's")
    return command
