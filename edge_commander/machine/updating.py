"""What the root half does with an operator's `upgrade`: judges the command again, and installs what it names. Touches
the ESP and the idle root.

Root takes nobody's word for an image: a release that operators signed once may be an old one with known holes, so their
command for this very node must order it, by version and digest. And of the commands each is good until a newer one was
carried out: which one that was stands on the ESP, which root alone writes and no wipe erases.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from agents.contracts.command import Command, SignedCommand, Verb
from agents.core.command_verify import CommandRefused
from agents.core.errors import Rejected, Retryable
from agents.io.state import StateFile
from edge_commander.machine.wire import Ask
from edge_commander.settings import CommanderSettings
from edge_commander.update.install import install
from edge_commander.update.record import UpdateRecord, wanted
from edge_commander.wipe.evidence import operators, warrant
from edge_commander.wipe.warrant import Warrant, believed

LEDGER = "EFI/galley/installed.json"
"""Below the ESP."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """The newest command whose image was put in place. `site`: whose sequences these are."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    site: str
    sequence: int


def update(ask: Ask, own: CommanderSettings, folder: Path, say: Callable[[str], None]) -> str:
    """The slot that the release is in now; the same command again does all anew. `folder`: of what was fetched.

    Raises Rejected for a command that this node does not believe, or that is older than the last one carried out;
    Retryable.
    """
    assert ask.command is not None
    command, order = ordered(ask.command, warrant(own))
    ledger = StateFile(Path(own.update.esp, LEDGER), Installed)
    _newer(ledger.load(), command)
    for aside in ledger.quarantined:  # no reason to install nothing ever again, and not to be passed over either
        say(f"{ledger.path}: was damaged, and is put aside as {aside.name}: which command was the last is not known")
    say(f"command {command.id} orders release {order.version}, document {order.sha256}, of {order.address}")

    def take() -> None:
        """Spent before anything is changed, and not by a release that is refused."""
        try:
            ledger.path.parent.mkdir(exist_ok=True, parents=True)
        except OSError as error:
            raise Retryable(f"{ledger.path.parent}: cannot be made: {error.strerror}") from None
        ledger.save(Installed(id=command.id, site=command.site, sequence=command.sequence))

    return install(order, folder, own.update, operators(own), say, take=take)


def ordered(signed: SignedCommand, known: Warrant) -> tuple[Command, UpdateRecord]:
    """The command, and the release that it names by version, digest and address. Expiry and challenge were judged when
    it was taken up: a release may take nights on a bad line. Raises Rejected."""
    try:
        command = believed(signed, known)
        if command.verb is not Verb.UPGRADE:
            raise Rejected(f"{command.verb.value} orders no image")
        return command, wanted(command)
    except CommandRefused as refused:
        raise Rejected(f"{refused.code}: {refused}") from None
    except ValueError as error:
        raise Rejected(str(error)) from None


def _newer(found: Installed | None, command: Command) -> None:
    if found is None or found.site != command.site or found.id == command.id:
        return
    if found.sequence >= command.sequence:
        raise Rejected(f"the command {found.id} of sequence {found.sequence} was carried out after this one")
