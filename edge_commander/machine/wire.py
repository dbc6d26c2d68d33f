"""What Edge Commander asks of the machine's root half, one request a connection, out of a closed list. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from agents.contracts.command import SignedCommand

REBOOT = "reboot"
WIPE_STATE = "wipe-state"
OUTBOXES = "outboxes"
ARM = "arm"
REPORTED = "reported"
OVERLAY_DIFF = "overlay-diff"
DIAGNOSTICS = "diagnostics"
UPDATE = "update"
COMMAND_ID = re.compile(r"[0-9a-f]{32}")


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. `command`: as it was signed; root judges it again, and takes nobody's word for it."""

    v: int = 1
    operation: str
    argument: str = ""
    command: SignedCommand | None = None

    def __repr__(self) -> str:
        return f"Ask(operation={self.operation!r}, argument={self.argument[:80]!r})"


@dataclass(frozen=True)
class Takes:
    """What an operation takes besides its name. `argument`: what that text is, in words; empty: none. `fits`: whether
    a text is one. `command`: whether the signed command is needed; without, none is taken."""

    argument: str = ""
    fits: Callable[[str], bool] = bool
    command: bool = False


OPERATIONS: Mapping[str, Takes] = {
    REBOOT: Takes(),
    WIPE_STATE: Takes(),
    OUTBOXES: Takes(),
    OVERLAY_DIFF: Takes(),
    ARM: Takes(command=True),
    REPORTED: Takes("a command's id", lambda text: COMMAND_ID.fullmatch(text) is not None),
    DIAGNOSTICS: Takes("a command's id", lambda text: COMMAND_ID.fullmatch(text) is not None),
    UPDATE: Takes(command=True),
}
"""The closed list."""


def problem(ask: Ask) -> str:
    """Why a request is not one of the closed list, or has not the parts that it needs; empty when it is well."""
    takes = OPERATIONS.get(ask.operation)
    if takes is None:
        return "no such operation"
    if bool(ask.argument) != bool(takes.argument) or (ask.argument and not takes.fits(ask.argument)):
        return f"{ask.operation} takes {takes.argument or 'no argument'}"
    if (ask.command is not None) != takes.command:
        return f"{ask.operation} takes {'the signed command' if takes.command else 'no command'}"
    return ""
