"""The highest epoch in a counter of the TPM: it only ever rises, whoever asks. Touches the TPM's NV memory.

An NV counter (TPM 2.0 Library, Part 1, section 37.2.4.3) starts above every counter that the TPM ever had, also after
it was deleted or the TPM cleared: nobody can set it back. So its value means `base + epoch`, and `base`, the value
when the keys were made, is stored with them and never changes.

This stands against any older `ident` put back on this machine. It does not stand against one who is root there now
(who may write another base into the key file), and a TPM that was cleared has lost the keys besides.
"""

from __future__ import annotations

from agents.core.errors import Rejected
from edge_commander.tpm.codes import DEFINED, HANDLE
from edge_commander.tpm.tools import Tpm, TpmRefused

INDEX = 0x01850001
"""In the owner's range of the TCG's registry of reserved handles (0x01800000 to 0x01BFFFFF)."""
MAX_STEP = 1000
"""So many epochs at once: each is one write to the TPM's NV memory, which wears (100,000 writes and more)."""
_ATTRIBUTES = "nt=counter|ownerread|ownerwrite|no_da"


def begin(tpm: Tpm) -> int:
    """Makes the counter where there is none; returns the base of a new identity. Raises TpmRefused, KeysUnavailable."""
    with tpm.turn():
        try:
            tpm.run("tpm2_nvdefine", hex(INDEX), "-Q", "-C", "o", "-s", "8", "-a", _ATTRIBUTES)
        except TpmRefused as error:
            if not error.said.is_(DEFINED):
                raise
        _increment(tpm)  # a counter has no value before
        return _value(tpm)


class TpmEpochFloor:
    """See edge_commander.epoch.EpochFloor. `base`: see `begin`."""

    def __init__(self, tpm: Tpm, base: int) -> None:
        self._tpm = tpm
        self._base = base

    def read(self) -> int:
        """See EpochFloor; raises Rejected where the counter is gone or below its base: the TPM is another, or was
        cleared."""
        try:
            floor = _value(self._tpm) - self._base
        except TpmRefused as error:
            if not error.said.is_(HANDLE):
                raise
            raise Rejected("the TPM's epoch counter is gone: it was cleared, or is another machine's") from None
        if floor < 0:
            raise Rejected("the TPM's epoch counter lies below the one that this identity began with")
        return floor

    def raise_to(self, epoch: int) -> None:
        """See EpochFloor; raises Rejected for more than MAX_STEP at once."""
        with self._tpm.turn():
            missing = epoch - self.read()
            if missing > MAX_STEP:
                raise Rejected(f"epoch {epoch} is {missing} above the last one: at most {MAX_STEP} are taken at once")
            for _ in range(missing):
                _increment(self._tpm)


def _increment(tpm: Tpm) -> None:
    tpm.run("tpm2_nvincrement", hex(INDEX), "-Q", "-C", "o")


def _value(tpm: Tpm) -> int:
    arguments = (hex(INDEX), "-Q", "-C", "o", "-s", "8", "-o", "{value}")
    return int.from_bytes(tpm.run("tpm2_nvread", *arguments, wanted=["value"])["value"], "big")
