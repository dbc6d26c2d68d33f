"""The TPM's endorsement key: shown, and used to open what was made for it and our signing key. Touches the TPM.

The key is made from the endorsement hierarchy's seed by the TCG EK Credential Profile's default template (L-1 for
RSA, L-2 for ECC), so it is the one in the maker's certificate, and the same after the TPM was cleared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from agents.core.tpm_public import PublicRefused, key_hash, read_public, subject_public_key
from edge_commander.attestation import Evidence
from edge_commander.tpm.loaded import LoadedKeys
from edge_commander.tpm.tools import Tpm, TpmRefused, memory_file

EkKind = Literal["ecc", "rsa"]
_MAGIC = bytes.fromhex("badcc0de00000001")
"""How tpm2-tools begins a credential's file: magic number and version."""


def endorsement_key(tpm: Tpm, kind: EkKind) -> tuple[bytes, bytes]:
    """Its saved context and its SubjectPublicKeyInfo (DER). Raises TpmRefused, KeysUnavailable."""
    made = tpm.run("tpm2_createek", "-G", kind, "-c", "{context}", "-u", "{public}", wanted=["context", "public"])
    return made["context"], subject_public_key(read_public(made["public"]))


def endorsement_hash(tpm: Tpm, kind: EkKind) -> str:
    """As the shipping list names it. Raises TpmRefused, KeysUnavailable."""
    return key_hash(endorsement_key(tpm, kind)[1])


class TpmAttester:
    """See edge_commander.attestation.Attester."""

    def __init__(self, keys: LoadedKeys, kind: EkKind) -> None:
        self._keys = keys
        self._kind: EkKind = kind
        self._evidence: Evidence | None = None

    def evidence(self) -> Evidence:
        """See Attester. The TPM is asked once."""
        if self._evidence is None:
            _, ek = endorsement_key(self._keys.tpm, self._kind)
            self._evidence = Evidence(ek, self._keys.blobs["signing"].public)
        return self._evidence

    def open(self, credential: bytes) -> bytes:
        """See Attester: TPM2_ActivateCredential, by the policy of the default templates (the endorsement hierarchy's
        own authorisation)."""
        if len(credential) > 1024:
            raise PublicRefused("the challenge is too long")
        with self._keys.tpm.turn():
            return self._keys.use("signing", lambda signing: self._activate(signing, _MAGIC + credential))

    def _activate(self, signing: bytes, credential: bytes) -> bytes:
        tpm = self._keys.tpm
        ek, _ = endorsement_key(tpm, self._kind)
        # The session's file is one for all commands: each that uses the session saves it anew, also one that fails.
        with memory_file("session") as file, self._session(file):
            given = {"signing": signing, "ek": ek, "credential": credential}
            key = ("-Q", "-c", "{signing}", "-C", "{ek}", "-P", "session:{session}")
            files = ("-i", "{credential}", "-o", "{secret}")
            shared = {"session": file}
            done = tpm.run("tpm2_activatecredential", *key, *files, given=given, wanted=["secret"], shared=shared)
            return done["secret"]

    @contextmanager
    def _session(self, file: int) -> Iterator[None]:
        """A policy session that may use the endorsement key; ended whatever happens."""
        tpm, shared = self._keys.tpm, {"session": file}
        tpm.run("tpm2_startauthsession", "-Q", "--policy-session", "-S", "{session}", shared=shared)
        try:
            tpm.run("tpm2_policysecret", "-Q", "-S", "{session}", "-c", "e", shared=shared)
            yield
        finally:
            with suppress(TpmRefused):  # it ended by itself
                tpm.run("tpm2_flushcontext", "{session}", shared=shared)
