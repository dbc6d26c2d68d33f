"""Signed releases of the image: whose word makes one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.release import ImageRelease
from agents.contracts.signed import SignedDocument
from agents.core.jose import SignatureRefused, Signer
from agents.core.operators import Operators
from agents.core.signed import read_payload, sign_document, signers_of

RELEASE_TYPE = "galley-release+jws"
MAX_BYTES = 16 * 1024


def sign_release(release: ImageRelease, signers: Sequence[Signer]) -> bytes:
    """The bytes of `release.json`."""
    return encode(sign_document(release, signers, RELEASE_TYPE))


def verify_release(data: bytes, operators: Operators | None, version: str) -> ImageRelease:
    """The release, signed by an operator whose word counted when it was issued. Raises SignatureRefused."""
    if operators is None:
        raise SignatureRefused("no operators are known here, so nobody's release is")
    if len(data) > MAX_BYTES:
        raise SignatureRefused(f"longer than {MAX_BYTES} bytes")
    try:
        signed = decode(data, SignedDocument)
    except ContractError as error:
        raise SignatureRefused(f"no signed document: {error}") from None
    release = read_payload(signed, ImageRelease)
    known = {kid: one.key for kid, one in operators.keys.items()}
    kids = signers_of(signed.payload, signed.signatures, known, RELEASE_TYPE)
    if not any(operators.counts(kid, release.issued) for kid in kids):
        raise SignatureRefused("its operator's key was retired before it was issued")
    if release.version != version:
        raise SignatureRefused(f"it is release {release.version}, not {version}")
    return release
