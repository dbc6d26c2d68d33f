"""The highest epoch that this node was ever in, as a port, and in a file on `ident`; touches that file.

A restored old `ident` holds an old epoch too. A file goes back with it; a TPM's counter does not: see tpm/epoch.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from agents.core.errors import Rejected
from agents.io.state import StateFile

FLOOR_NAME = "epoch-floor.json"


class EpochFloor(Protocol):
    """Never goes down. Blocks: call it in a thread."""

    def read(self) -> int:
        """The highest epoch ever raised to, 0 at first. Raises Retryable, Rejected."""

    def raise_to(self, epoch: int) -> None:
        """Durably at least `epoch`; nothing for a lower one. Raises Retryable (some of the way may then be done),
        Rejected."""


class RolledBack(Rejected):
    """What lies on `ident` is older than what this node knows to have been there."""


def check_not_older(epoch: int, floor: int) -> None:
    """Raises RolledBack where the epoch on `ident` lies below the floor. Both as numbers; 0: none yet."""
    if epoch < floor:
        raise RolledBack(f"ident holds epoch {epoch}, this node was in epoch {floor}: an older ident was put back")


class _Floor(msgspec.Struct, frozen=True):
    epoch: int


class FileEpochFloor:
    """`<directory>/epoch-floor.json`. It stands against a fault of ours, not against a whole `ident` put back."""

    def __init__(self, directory: Path) -> None:
        self._file = StateFile(directory / FLOOR_NAME, _Floor)

    def read(self) -> int:
        """See EpochFloor. A damaged file is put aside, and raises Rejected from then on."""
        found = self._file.load()
        if found is None and (aside := sorted(self._file.path.parent.glob(f"{FLOOR_NAME}.corrupt-*"))):
            raise Rejected("the highest epoch is not known: the file is damaged", file=str(aside[0]))
        return found.epoch if found is not None else 0

    def raise_to(self, epoch: int) -> None:
        """See EpochFloor."""
        if epoch > self.read():
            self._file.save(_Floor(epoch))
