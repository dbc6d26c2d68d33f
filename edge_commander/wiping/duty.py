"""What a wipe owes after its command, as it stands on `ident`: cordon and Lease to give back, an end to be marked as
reported, a boot. Touches `wipe-duty.json`.

Written before anything is taken, so whatever crash comes, the next start knows that something may have to be given
back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from agents.core.errors import Retryable
from agents.io.state import StateFile, sync_directory

NAME = "wipe-duty.json"


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """`command_id`: whose. `node`: this node's name in Kubernetes. `lease`, `cordoned`: it is, or may be, ours.
    `arming`: the journal was, or may be, armed. `boot`, `boots`: id of the last boot seen since, and how many.
    `ended`: the node's state tells the journal's end. `reported`: the journal knows that it was answered. `left`: some
    of the pods that did not go, for the answer."""

    command_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    node: str
    retire: bool = False
    lease: bool = False
    cordoned: bool = False
    arming: bool = False
    boot: str = ""
    boots: int = 0
    ended: bool = False
    reported: bool = False
    left: list[str] = []


class DutyFile:
    """`duty` is what is on disk; None: nothing is owed."""

    def __init__(self, ident: Path) -> None:
        self._path = ident / NAME
        self._file = StateFile(self._path, Duty)
        self.duty = self._file.load()

    def save(self, duty: Duty) -> None:
        """Raises Retryable; the old one then stands."""
        if duty != self.duty:
            self._file.save(duty)
            self.duty = duty

    def clear(self) -> None:
        """Nothing is owed any more. Raises Retryable."""
        try:
            self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:
            raise Retryable(f"{self._path}: cannot be removed: {error.strerror}") from None
        self.duty = None
