"""JSON Web Encryption as the suite uses it: compact, ECDH-ES+A256KW and A256GCM, P-256, nothing else. Pure.

RFC 7516, RFC 7518 sections 4.6 and 5.3. What is random comes from the caller. The private key is asked for one shared
secret and stays where it is (a TPM). The header holds exactly what is listed here, each at its one value, and
base64url has one spelling: no byte of a token may change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, SoftwareKey, canonical, decode64, encode64, thumbprint

ALG, ENC = "ECDH-ES+A256KW", "A256GCM"
MAX_CHARS = 32 * 1024
CEK_BYTES, IV_BYTES, TAG_BYTES, WRAPPED_BYTES = 32, 12, 16, 40
_HEADERS = frozenset({"alg", "enc", "epk", "kid", "typ"})


class SealRefused(Rejected):
    """What was sealed is not for us, not of this kind, or was changed. The text never holds the token."""


def seal(plaintext: bytes, recipient: Jwk, typ: str, *, ephemeral: SoftwareKey, content_key: bytes, iv: bytes) -> str:
    """A compact JWE to a P-256 key. `ephemeral`, `content_key` (32 bytes) and `iv` (12 bytes) are used once."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    recipient = canonical(recipient)
    header = {"alg": ALG, "enc": ENC, "epk": ephemeral.public, "kid": thumbprint(recipient), "typ": typ}
    protected = encode64(msgspec.json.encode(header))
    wrapped = aes_key_wrap(_wrapping_key(ephemeral.agree(recipient)), content_key)
    sealed = AESGCM(content_key).encrypt(iv, plaintext, protected.encode())
    parts = (wrapped, iv, sealed[:-TAG_BYTES], sealed[-TAG_BYTES:])
    return ".".join([protected, *map(encode64, parts)])


def unseal(token: str, recipient: Jwk, agree: Callable[[Jwk], bytes], typ: str) -> bytes:
    """The plaintext of a token that was sealed to `recipient` (public), whose key store answers `agree` with the
    shared secret of that key and another. Raises SealRefused, and what `agree` raises."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    protected, wrapped, iv, ciphertext, tag = _split(token)
    ephemeral = _ephemeral(_header(protected), recipient, typ)
    if len(wrapped) != WRAPPED_BYTES or len(iv) != IV_BYTES or len(tag) != TAG_BYTES:
        raise SealRefused("a part of what was sealed has the wrong length")
    try:
        content_key = aes_key_unwrap(_wrapping_key(agree(ephemeral)), wrapped)
        return AESGCM(content_key).decrypt(iv, ciphertext + tag, protected.encode())
    except (InvalidUnwrap, InvalidTag):
        raise SealRefused("what was sealed is not for this key, or was changed") from None


def concat_kdf(shared: bytes, algorithm: str, bits: int, apu: bytes = b"", apv: bytes = b"") -> bytes:
    """The Concat KDF with SHA-256 as RFC 7518 section 4.6.2 fills it; at most 256 bits: one round."""

    def with_length(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    if not 0 < bits <= 256 or bits % 8:
        raise ValueError("one round gives at most 256 bits")
    info = with_length(algorithm.encode()) + with_length(apu) + with_length(apv) + bits.to_bytes(4, "big")
    return hashlib.sha256((1).to_bytes(4, "big") + shared + info).digest()[: bits // 8]


def _wrapping_key(shared: bytes) -> bytes:
    return concat_kdf(shared, ALG, 256)


def _split(token: str) -> tuple[str, bytes, bytes, bytes, bytes]:
    segments = token.split(".")
    if len(token) > MAX_CHARS or len(segments) != 5:
        raise SealRefused("not a compact JWE")
    wrapped, iv, ciphertext, tag = map(_decoded, segments[1:])
    return segments[0], wrapped, iv, ciphertext, tag


def _decoded(segment: str) -> bytes:
    try:
        data = decode64(segment)
    except SignatureRefused:
        raise SealRefused("not base64url") from None
    if encode64(data) != segment:
        raise SealRefused("not the one spelling of base64url")
    return data


def _header(protected: str) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(_decoded(protected))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SealRefused("the protected header is not JSON") from None
    if not isinstance(header, dict) or set(header) != _HEADERS:
        raise SealRefused(f"the protected header must hold {', '.join(sorted(_HEADERS))} and nothing else")
    return header


def _ephemeral(header: dict[str, Any], recipient: Jwk, typ: str) -> Jwk:
    if (header["alg"], header["enc"], header["typ"]) != (ALG, ENC, typ):
        raise SealRefused("alg, enc or typ is not the one of this use")
    if header["kid"] != thumbprint(canonical(recipient)):
        raise SealRefused("it is sealed to another key")
    epk = header["epk"]
    try:
        key = canonical(epk) if isinstance(epk, dict) else {}
    except SignatureRefused:
        key = {}
    if key != epk or key.get("crv") != "P-256":
        raise SealRefused("epk is no public key on P-256")
    return key
