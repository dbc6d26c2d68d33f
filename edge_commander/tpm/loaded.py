"""Keys of ours below a TPM's owner hierarchy: made, loaded and used by their wrapped blobs. Touches the TPM.

The parent is the TCG's storage root key for P-256 (template H-2 of the TCG's provisioning guidance), made anew from
the hierarchy's seed whenever it is needed: nothing of ours takes one of the TPM's few persistent places. A key that
is loaded is kept as a saved context, which lives until the TPM is reset, and is then loaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import msgspec

from edge_commander.tpm.tools import Tpm, TpmRefused

T = TypeVar("T")
Use = Literal["signing", "sealing"]
_BORN = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
_TEMPLATES: dict[Use, tuple[str, str]] = {
    "signing": ("ecc256:ecdsa-sha256", f"{_BORN}|sign"),
    "sealing": ("ecc256", f"{_BORN}|decrypt"),
}


class Blob(msgspec.Struct, frozen=True):
    """A key as it is stored: TPM2B_PUBLIC, and TPM2B_PRIVATE, which its own TPM alone can open."""

    public: bytes
    private: bytes

    def __repr__(self) -> str:
        return "Blob()"


def make_keys(tpm: Tpm) -> dict[Use, Blob]:
    """Makes both keys; nothing of them stays in the TPM. Raises TpmRefused, KeysUnavailable."""
    with tpm.turn():
        parent = _parent(tpm)
        return {use: _make(tpm, parent, use) for use in _TEMPLATES}


class LoadedKeys:
    """Keys ready for use. For any number of threads."""

    def __init__(self, tpm: Tpm, blobs: Mapping[Use, Blob]) -> None:
        self.tpm = tpm
        self.blobs = blobs
        self._contexts: dict[Use, bytes] = {}

    def __repr__(self) -> str:
        return f"LoadedKeys({self.tpm!r})"

    def load(self) -> None:
        """Loads all; raises TpmRefused where this TPM did not make them, KeysUnavailable."""
        with self.tpm.turn():
            parent = _parent(self.tpm)
            for use, blob in self.blobs.items():
                self._contexts[use] = _load(self.tpm, parent, blob)

    def use(self, use: Use, work: Callable[[bytes], T]) -> T:
        """What `work` makes of the key's saved context. Loads the keys, also anew where the TPM was reset since.

        Raises what `work` raises, TpmRefused, KeysUnavailable.
        """
        with self.tpm.turn():
            if use in self._contexts:
                try:
                    return work(self._contexts[use])
                except TpmRefused:
                    self._contexts.clear()
            self.load()
            return work(self._contexts[use])


def _parent(tpm: Tpm) -> bytes:
    arguments = ("-Q", "-C", "o", "-G", "ecc", "-g", "sha256", "-c", "{context}")
    return tpm.run("tpm2_createprimary", *arguments, wanted=["context"])["context"]


def _make(tpm: Tpm, parent: bytes, use: Use) -> Blob:
    algorithm, attributes = _TEMPLATES[use]
    key = ("-G", algorithm, "-g", "sha256", "-a", attributes, "-u", "{public}", "-r", "{private}")
    made = tpm.run("tpm2_create", "-Q", "-C", "{parent}", *key, given={"parent": parent}, wanted=["public", "private"])
    return Blob(made["public"], made["private"])


def _load(tpm: Tpm, parent: bytes, blob: Blob) -> bytes:
    given = {"parent": parent, "public": blob.public, "private": blob.private}
    arguments = ("-Q", "-C", "{parent}", "-u", "{public}", "-r", "{private}", "-c", "{context}")
    return tpm.run("tpm2_load", *arguments, given=given, wanted=["context"])["context"]
