"""Signing and verifying of JWS in general JSON serialisation, one or many signatures over one payload. Pure.

A signature that is wrong, or by a key that the judge does not know, refuses the whole: nobody has to ask what a
document with one good and one bad signature means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.command import JwsSignature
from agents.contracts.signed import SignedDocument
from agents.core.jose import (
    Jwk,
    SignatureRefused,
    Signer,
    algorithm,
    check_header,
    decode64,
    encode64,
    import_public,
    protected_header,
)

T = TypeVar("T")


def sign_document(value: Any, signers: Sequence[Signer], typ: str) -> SignedDocument:
    """The value's JSON with one signature a signer."""
    payload = encode64(encode(value))
    return SignedDocument(payload=payload, signatures=[signature(payload, signer, typ) for signer in signers])


def signature(payload: str, signer: Signer, typ: str) -> JwsSignature:
    """One signature over a payload that is base64url already."""
    head = encode64(protected_header(signer.public, typ))
    return JwsSignature(protected=head, signature=encode64(signer.sign(f"{head}.{payload}".encode())))


def read_payload(signed: SignedDocument, type_: type[T]) -> T:
    """The payload, nothing verified; raises SignatureRefused where it is not of this type."""
    try:
        return decode(_strict64(signed.payload), type_)
    except ContractError as error:
        raise SignatureRefused(f"payload: {error}") from None


def signers_of(payload: str, signatures: Sequence[JwsSignature], keys: Mapping[str, Jwk], typ: str) -> frozenset[str]:
    """Thumbprints of the `keys` (public, by thumbprint) that signed; raises SignatureRefused, see above."""
    found = set()
    for one in signatures:
        head = check_header(one.protected)
        kid = head.get("kid", "")
        public = keys.get(kid)
        if public is None:
            raise SignatureRefused("signed by an unknown key")
        if head.get("alg") != algorithm(public) or head.get("typ") != typ:
            raise SignatureRefused("alg and typ must be those of the key and of this use")
        if not _good(f"{one.protected}.{payload}".encode(), one.signature, public):
            raise SignatureRefused("a signature is wrong")
        found.add(kid)
    return frozenset(found)


def _good(message: bytes, encoded: str, public: Jwk) -> bool:
    """The library's algorithm alone: its reader of whole documents refuses rosters of more than 128 kB."""
    try:
        key = import_public(msgspec.json.encode(public))
        return jws.JWSRegistry.algorithms[algorithm(public)].verify(message, _strict64(encoded), key)
    except (JoseError, SignatureRefused, ValueError, TypeError):
        return False


def _strict64(text: str) -> bytes:
    """Base64url in its one canonical form: unused bits must be zero, so no two texts are the same bytes."""
    data = decode64(text)
    if encode64(data) != text:
        raise SignatureRefused("not canonical base64url")
    return data
