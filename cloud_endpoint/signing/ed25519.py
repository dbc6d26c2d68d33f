"""Public Ed25519 keys as JWK out of their 32 bytes, and the check of what another program signed. Pure."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.core.jose import Jwk, canonical, decode64, encode64

KEY_BYTES = 32


def jwk_of(raw: bytes) -> Jwk:
    """The JWK (RFC 8037) of a raw public key; raises SignatureRefused where it is none."""
    return canonical({"kty": "OKP", "crv": "Ed25519", "x": encode64(raw)})


def signed_by(public: Jwk, message: bytes, signature: bytes) -> bool:
    """Whether that key made this signature."""
    try:
        Ed25519PublicKey.from_public_bytes(decode64(public["x"])).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
