"""Where the device keys are: the setting, held against where they lie already. Touches ident, and the TPM by its store.

The choice is made once, by the first keys: their file is its record. A node never changes over by itself, as it would
be another device to the cloud.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from agents.core.errors import Rejected
from edge_commander.epoch import EpochFloor, FileEpochFloor
from edge_commander.keys import KEYS_NAME, DeviceKeys, FileKeyStore, KeysDamaged
from edge_commander.settings import CommanderSettings
from edge_commander.tpm.keys import KEYS_NAME as TPM_KEYS_NAME
from edge_commander.tpm.keys import TpmDeviceKeys, TpmKeyStore
from edge_commander.tpm.tools import Tpm


class Place(StrEnum):
    """Where keys are, or are to be made."""

    FILE = "file"
    TPM = "tpm"
    EITHER = "either"  # none yet: in a TPM where one can be used


def place(setting: str, *, in_file: bool, in_tpm: bool) -> Place:
    """The rule. `in_file`, `in_tpm`: keys are, or were, there. Raises KeysDamaged for what contradicts itself."""
    if in_file and in_tpm:
        raise KeysDamaged(f"there are device keys in {KEYS_NAME} and in {TPM_KEYS_NAME}: take one of them away")
    if in_file or in_tpm:
        found = Place.FILE if in_file else Place.TPM
        if setting not in ("auto", found.value):
            raise KeysDamaged(f"the device keys are in a {found.value}, and edge_commander.keys says {setting!r}")
        return found
    return Place.EITHER if setting == "auto" else Place(setting)


class ChosenKeyStore:
    """See KeyStore. `tell(text)`: why keys are made in a file although a TPM seems to be there."""

    def __init__(self, settings: CommanderSettings, tell: Callable[[str], None]) -> None:
        self.directory = Path(settings.keys_dir)
        self._setting = settings.keys
        self._file = FileKeyStore(self.directory)
        self._tpm = TpmKeyStore(self.directory, Tpm(settings.tcti), settings.endorsement_key)
        self._tell = tell

    def place(self) -> Place:
        """Where they are now; raises KeysDamaged."""
        in_file, in_tpm = (store.path.exists() or bool(store.damaged()) for store in (self._file, self._tpm))
        return place(self._setting, in_file=in_file, in_tpm=in_tpm)

    def ever(self) -> bool:
        """Whether this box has keys, or had some that were put aside."""
        return any(store.path.exists() or bool(store.damaged()) for store in (self._file, self._tpm))

    def load(self) -> DeviceKeys | None:
        """See KeyStore."""
        match self.place():
            case Place.FILE:
                return self._file.load()
            case Place.TPM:
                return self._tpm.load()
        return None

    def create(self) -> DeviceKeys:
        """See KeyStore. Waits (Retryable) for a TPM that is there and does not answer now: what is chosen lasts."""
        match self.place():
            case Place.FILE:
                return self._file.create()
            case Place.TPM:
                return self._tpm.create()
        if why := no_tpm(self._tpm.tpm):
            self._tell(f"device keys are made in a file: {why}")
            return self._file.create()
        try:
            return self._tpm.create()
        except Rejected as error:
            self._tell(f"device keys are made in a file: the TPM cannot be used: {error}")
            return self._file.create()

    def floor(self, keys: DeviceKeys) -> EpochFloor:
        """The highest epoch: in the TPM where that holds the keys, else on ident."""
        return keys.floor if isinstance(keys, TpmDeviceKeys) else FileEpochFloor(self.directory)


def no_tpm(tpm: Tpm) -> str:
    """Why there is no TPM for this process; empty where there may be one. Asks the TPM nothing."""
    device = tpm.device
    if device is None:
        return ""
    if not device.exists():
        return f"there is no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{device} may not be opened by this user"
    return ""
