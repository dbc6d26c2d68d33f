"""The device's two keys in a TPM 2.0; touches the TPM and one file on `ident`, which is of no use to another TPM.

The file holds both keys, each with its private part wrapped by the TPM, and is written once both are made: both are
there or neither is. Before that nothing of them stays in the TPM.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, Signer, thumbprint
from agents.core.tpm_public import read_point_x, read_public, write_point
from agents.io.state import StateFile, quarantine
from edge_commander.attestation import Attester
from edge_commander.keys import KeysDamaged, works
from edge_commander.tpm import epoch
from edge_commander.tpm.endorsement import EkKind, TpmAttester
from edge_commander.tpm.loaded import Blob, LoadedKeys, make_keys
from edge_commander.tpm.tools import Tpm, TpmRefused

KEYS_NAME = "tpm-keys.json"
_FOREIGN = "this TPM cannot load the device keys: it was cleared, or the disk comes from another machine"


class _Record(msgspec.Struct, frozen=True):
    signing: Blob
    sealing: Blob
    epoch_base: int


class _TpmSigner:
    """ES256 by the TPM: the digest is made here, the signature there."""

    def __init__(self, keys: LoadedKeys, public: Jwk) -> None:
        self.public = public
        self._keys = keys

    def __repr__(self) -> str:
        return f"TpmSigner({thumbprint(self.public)})"

    def sign(self, message: bytes) -> bytes:
        """The raw signature, 64 bytes. Blocks. Raises TpmRefused, KeysUnavailable."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        digest = hashlib.sha256(message).digest()

        def work(key: bytes) -> bytes:
            how = ("-Q", "-c", "{key}", "-g", "sha256", "-s", "ecdsa", "-f", "plain", "-d", "-o", "{signature}")
            given = {"key": key, "digest": digest}
            done = self._keys.tpm.run("tpm2_sign", *how, "{digest}", given=given, wanted=["signature"])
            return done["signature"]

        r, s = decode_dss_signature(self._keys.use("signing", work))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class TpmDeviceKeys:
    """Keys that a TPM holds. `floor`: the highest epoch, in the same TPM. Made by TpmKeyStore."""

    def __init__(self, keys: LoadedKeys, publics: tuple[Jwk, Jwk], kind: EkKind, base: int) -> None:
        self._keys = keys
        self._signer = _TpmSigner(keys, publics[0])
        self._sealing = publics[1]
        self._attester = TpmAttester(keys, kind)
        self.floor = epoch.TpmEpochFloor(keys.tpm, base)

    def __repr__(self) -> str:
        return f"TpmDeviceKeys({thumbprint(self._signer.public)})"

    @property
    def signer(self) -> Signer:
        """The signing key."""
        return self._signer

    @property
    def sealing(self) -> Jwk:
        """The public sealing key."""
        return self._sealing

    def agree(self, public: Jwk) -> bytes:
        """See DeviceKeys. Blocks."""
        point = write_point(public)

        def work(key: bytes) -> bytes:
            how = ("-Q", "-c", "{key}", "-u", "{point}", "-o", "{shared}")
            given = {"key": key, "point": point}
            return self._keys.tpm.run("tpm2_ecdhzgen", *how, given=given, wanted=["shared"])["shared"]

        return read_point_x(self._keys.use("sealing", work))

    @property
    def attester(self) -> Attester | None:
        """The TPM."""
        return self._attester


class TpmKeyStore:
    """`<keys_dir>/tpm-keys.json`, mode 0600. The directory must be there. `kind`: of the endorsement key shown.

    Its methods block for as long as the TPM takes.
    """

    def __init__(self, keys_dir: Path, tpm: Tpm, kind: EkKind = "ecc") -> None:
        self.path = keys_dir / KEYS_NAME
        self.tpm = tpm
        self._kind: EkKind = kind
        self._file = StateFile(self.path, _Record)

    def load(self) -> TpmDeviceKeys | None:
        """See KeyStore. Keys that this TPM did not make stay where they are: a person may bring the right disk."""
        record = self._file.load()
        if record is not None:
            publics = _publics(record)
            if publics is not None:
                return self._open(record, publics)
            quarantine(self.path)
        if found := self.damaged():
            raise KeysDamaged("the device keys are damaged; put them back, or retire this device", file=str(found[0]))
        return None

    def create(self) -> TpmDeviceKeys:
        """See KeyStore."""
        if self.path.exists() or self.damaged():
            raise KeysDamaged("device keys are, or were, here; new ones are not made beside them", file=str(self.path))
        with self.tpm.turn():
            blobs = make_keys(self.tpm)
            record = _Record(blobs["signing"], blobs["sealing"], epoch.begin(self.tpm))
            publics = _publics(record)
            if publics is None:
                raise Rejected("the TPM made a key of another kind than it was asked for")
            keys = self._open(record, publics)
            self._file.save(record)
        return keys

    def damaged(self) -> list[Path]:
        """Damaged key files that were put aside."""
        return sorted(self.path.parent.glob(f"{KEYS_NAME}.corrupt-*"))

    def _open(self, record: _Record, publics: tuple[Jwk, Jwk]) -> TpmDeviceKeys:
        loaded = LoadedKeys(self.tpm, {"signing": record.signing, "sealing": record.sealing})
        try:
            loaded.load()
            keys = TpmDeviceKeys(loaded, publics, self._kind, record.epoch_base)
            good = works(keys.signer)
        except TpmRefused as error:
            raise KeysDamaged(f"{_FOREIGN} ({error.cause})", file=str(self.path)) from None
        if not good:
            raise KeysDamaged("the TPM signs with another key than the stored one", file=str(self.path))
        return keys


def _publics(record: _Record) -> tuple[Jwk, Jwk] | None:
    """Both public keys; None where one cannot be read."""
    try:
        return read_public(record.signing.public).jwk, read_public(record.sealing.public).jwk
    except (Rejected, SignatureRefused):
        return None
