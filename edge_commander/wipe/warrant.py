"""Whether an armed wipe stands on an operator's signature for this very node. Pure.

Judged when it is armed, and again in early boot from what lies on the disks alone: a journal that somebody wrote by
himself erases nothing. Expiry and challenge were judged when the command was taken; a power cut may last longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import CommandKeys, CommandRefused, read_command, verify_command
from agents.core.jose import Jwk
from edge_commander.wipe.record import Target, WipeRecord

MAY_ERASE: Mapping[Verb, frozenset[Target]] = {
    Verb.WIPE: frozenset({Target.VAR, Target.CONF, Target.KEEP}),
    Verb.RETIRE: frozenset(Target),
}
"""Which verb may name which targets. The identity goes on retirement alone."""


@dataclass(frozen=True)
class Warrant:
    """Who this node is and whose word counts here. `operators`: Ed25519 public keys by thumbprint."""

    site: str
    node: str
    operators: Mapping[str, Jwk]


def targets_of(command: Command) -> list[Target]:
    """The targets that a command names. Raises CommandRefused for a name that is none, twice, or not the verb's."""
    allowed = MAY_ERASE.get(command.verb, frozenset())
    if not allowed:
        raise CommandRefused("verb", f"{command.verb.value} erases nothing")
    found: list[Target] = []
    for name in command.targets:
        if name not in {one.value for one in allowed}:
            known = ", ".join(one.value for one in Target if one in allowed)
            raise CommandRefused("target", f"{command.verb.value} may erase {known}, not {name!r}")
        found.append(Target(name))
    if not found or len(set(found)) != len(found):
        raise CommandRefused("target", "no target is named, or one twice")
    return found


def judge(signed: SignedCommand, warrant: Warrant) -> Command:
    """The command, where operators signed it for this node. Raises CommandRefused."""
    command = verify_command(
        signed,
        CommandKeys(operators=warrant.operators),
        site=warrant.site,
        node=warrant.node,
        now=read_command(signed).issued,
        after=0,
        challenges=None,
    )
    targets_of(command)
    return command


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
