"""The device's two keys as a port, and in a file; touches that one file, and no other part of Galley reads it.

Signing (ES256) and sealing (P-256 ECDH) are one record in one file: both are there or neither is. A TPM fills the
same port: see tpm/keys.py. Whatever uses a private key may take as long as a TPM does: call it in a thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.jose import (
    Jwk,
    SignatureRefused,
    Signer,
    SoftwareKey,
    sign_compact,
    thumbprint,
    verify_compact,
)
from agents.io.state import StateFile, quarantine
from edge_commander.attestation import Attester

KEYS_NAME = "device-keys.json"


class KeysDamaged(Rejected):
    """The keys were there and cannot be used. Only a person may put them back, or give the identity up."""


class KeysUnavailable(Retryable):
    """Where the keys lie does not answer now: a TPM that is busy, gone, or not there yet."""


class DeviceKeys(Protocol):
    """Both keys. What is private never leaves it; `repr` shows nothing."""

    @property
    def signer(self) -> Signer:
        """Signs assertions and proofs. Its `sign` raises Retryable, Rejected."""

    @property
    def sealing(self) -> Jwk:
        """The public sealing key."""

    def agree(self, public: Jwk) -> bytes:
        """The ECDH shared secret of the sealing key and `public`: the x coordinate, 32 bytes (a TPM's ECDH_ZGen).

        Opens what was sealed to this device; raises Rejected for a key that is none on P-256, Retryable."""

    @property
    def attester(self) -> Attester | None:
        """The TPM that holds them; None where they are in a file."""


class KeyStore(Protocol):
    """Where the keys lie: a file on ident, or a TPM."""

    def load(self) -> DeviceKeys | None:
        """The keys, None where none were ever made. Raises KeysDamaged, Retryable when the disk does not answer."""

    def create(self) -> DeviceKeys:
        """Makes both, durably; raises KeysDamaged where there are or were some, Retryable."""


class _Pair(msgspec.Struct, frozen=True):
    signing: dict[str, str]
    sealing: dict[str, str]

    def __repr__(self) -> str:
        return "_Pair()"


class FileDeviceKeys:
    """Keys in memory, read from their file."""

    def __init__(self, signing: SoftwareKey, sealing: SoftwareKey) -> None:
        self._signing = signing
        self._sealing = sealing

    def __repr__(self) -> str:
        return f"FileDeviceKeys({thumbprint(self._signing.public)})"

    @property
    def signer(self) -> Signer:
        """The signing key."""
        return self._signing

    @property
    def sealing(self) -> Jwk:
        """The public sealing key."""
        return self._sealing.public

    def agree(self, public: Jwk) -> bytes:
        """See DeviceKeys."""
        return self._sealing.agree(public)

    @property
    def attester(self) -> Attester | None:
        """None: a file proves nothing of the machine."""
        return None


class FileKeyStore:
    """`<keys_dir>/device-keys.json`, mode 0600, replaced whole or not at all. The directory must be there."""

    def __init__(self, keys_dir: Path) -> None:
        self.path = keys_dir / KEYS_NAME
        self._file = StateFile(self.path, _Pair)

    def load(self) -> FileDeviceKeys | None:
        """See KeyStore. A damaged file is renamed, kept, and remembered by its new name: also after a restart."""
        pair = self._file.load()
        if pair is not None:
            keys = _from(pair)
            if keys is not None:
                self.path.chmod(0o600)
                return keys
            quarantine(self.path)
        if found := self.damaged():
            raise KeysDamaged("the device keys are damaged; put them back, or retire this device", file=str(found[0]))
        return None

    def create(self) -> FileDeviceKeys:
        """See KeyStore."""
        if self.path.exists() or self.damaged():
            raise KeysDamaged("device keys are, or were, here; new ones are not made beside them", file=str(self.path))
        keys = FileDeviceKeys(SoftwareKey.generate(), SoftwareKey.generate())
        self._file.save(_Pair(signing=_private(keys._signing), sealing=_private(keys._sealing)))
        return keys

    def damaged(self) -> list[Path]:
        """Damaged key files that were put aside."""
        return sorted(self.path.parent.glob(f"{KEYS_NAME}.corrupt-*"))


def _private(key: SoftwareKey) -> dict[str, str]:
    return {name: str(value) for name, value in key.private().items()}


def _from(pair: _Pair) -> FileDeviceKeys | None:
    try:
        keys = FileDeviceKeys(SoftwareKey(dict(pair.signing)), SoftwareKey(dict(pair.sealing)))
    except SignatureRefused:
        return None
    return keys if works(keys._signing) and works(keys._sealing) else None


def works(key: Signer) -> bool:
    """Whether the private half belongs to the public one: a signature by the one verifies by the other."""
    if key.public["crv"] != "P-256":
        return False
    try:
        verify_compact(sign_compact(b"check", key, "check"), key.public, types=frozenset({"check"}))
    except SignatureRefused:
        return False
    return True
