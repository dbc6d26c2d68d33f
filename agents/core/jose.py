"""JSON Web Signatures as the suite uses them: the key alone names the algorithm, headers hold next to nothing. Pure.

Accepted keys: EC P-256 (`ES256`, RFC 7518) and OKP Ed25519 (`Ed25519`, RFC 9864). A protected header may hold
`alg`, `kid` and `typ`; anything else (`jku`, `x5u`, `jwk`, `x5c`, `crit`, ...) is refused, so a token never says
where its own key comes from (RFC 8725 sections 3.1 and 3.10).
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from agents.core.errors import Rejected

Jwk = dict[str, Any]

MAX_TOKEN_CHARS = 8192
_ALGORITHMS = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "Ed25519"}
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_HEADERS = frozenset({"alg", "kid", "typ"})
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class SignatureRefused(Rejected):
    """A key or signature that is not accepted. The text never holds the token."""


class Signer(Protocol):
    """A private key, wherever it lies (file, TPM)."""

    @property
    def public(self) -> Jwk:
        """The public key, canonical."""

    def sign(self, message: bytes) -> bytes:
        """The raw JWS signature of `message` (ES256: r and s, 32 bytes each)."""


class SoftwareKey:
    """A private key in memory. `repr` shows its thumbprint alone."""

    def __init__(self, jwk: Jwk) -> None:
        self.public = canonical({k: v for k, v in jwk.items() if k != "d"})
        self._algorithm = jws.JWSRegistry.algorithms[algorithm(self.public)]
        try:
            self._key = _import_private(msgspec.json.encode({**self.public, "d": jwk["d"]}))
            self._key.get_op_key("sign")
        except (JoseError, KeyError, ValueError, TypeError):
            raise SignatureRefused("not a private key") from None

    def __repr__(self) -> str:
        return f"SoftwareKey({thumbprint(self.public)})"

    @classmethod
    def generate(cls, curve: str = "P-256") -> SoftwareKey:
        """A new key on `P-256` or `Ed25519`."""
        key = ECKey.generate_key("P-256") if curve == "P-256" else OKPKey.generate_key("Ed25519")
        return cls(dict(key.as_dict(private=True)))

    def private(self) -> Jwk:
        """The whole key, for its file (0600) alone."""
        return {str(k): v for k, v in self._key.as_dict(private=True).items() if k in ("kty", "crv", "x", "y", "d")}

    def sign(self, message: bytes) -> bytes:
        """The raw signature."""
        return self._algorithm.sign(message, self._key)

    def agree(self, public: Jwk) -> bytes:
        """The ECDH shared secret with a P-256 key: the x coordinate, 32 bytes (RFC 7518 section 4.6, `Z`).

        Raises SignatureRefused for a key that is none on P-256; a point off the curve is no key.
        """
        own, other = self._key.get_op_key("sign"), canonical(public)
        theirs = import_public(msgspec.json.encode(other)).get_op_key("verify")
        if not isinstance(own, ec.EllipticCurvePrivateKey) or not isinstance(theirs, ec.EllipticCurvePublicKey):
            raise SignatureRefused("both keys must be on P-256")
        return own.exchange(ec.ECDH(), theirs)


def canonical(jwk: Jwk) -> Jwk:
    """The required public members alone, checked; raises SignatureRefused for private or foreign keys."""
    if "d" in jwk or "k" in jwk:
        raise SignatureRefused("a private key was given where a public one belongs")
    members = {name: jwk.get(name) for name in _MEMBERS.get(str(jwk.get("kty")), ())}
    if not members or not all(isinstance(value, str) and len(value) <= 64 for value in members.values()):
        raise SignatureRefused("the key must be a public JWK on P-256 or Ed25519")
    algorithm(members)
    try:
        import_public(msgspec.json.encode(members)).get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignatureRefused("the key is no valid public key") from None
    return members


def algorithm(jwk: Jwk) -> str:
    """The one algorithm of this key; raises SignatureRefused for any other kind of key."""
    found = _ALGORITHMS.get((str(jwk.get("kty")), str(jwk.get("crv"))))
    if found is None:
        raise SignatureRefused("the key must be on P-256 or Ed25519")
    return found


def thumbprint(jwk: Jwk) -> str:
    """RFC 7638, SHA-256, base64url: the `kid` of a key."""
    import hashlib

    members = {name: jwk[name] for name in _MEMBERS[jwk["kty"]]}
    return encode64(hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest())


def sign_compact(payload: bytes, signer: Signer, typ: str) -> str:
    """A compact JWS with `alg`, `kid`, `typ`."""
    head = encode64(protected_header(signer.public, typ)) + "." + encode64(payload)
    return head + "." + encode64(signer.sign(head.encode()))


def protected_header(public: Jwk, typ: str) -> bytes:
    """The JSON of a protected header for this key."""
    return msgspec.json.encode({"alg": algorithm(public), "kid": thumbprint(public), "typ": typ})


def verify_compact(token: str, public: Jwk, *, types: frozenset[str]) -> bytes:
    """The payload of a compact JWS that `public` signed; raises SignatureRefused.

    `types`: accepted values of `typ`, `""` for an absent one.
    """
    head = read_header(token)
    expected = algorithm(public)
    if head.get("alg") != expected:
        raise SignatureRefused(f"alg must be {expected}, as the registered key says")
    if str(head.get("typ", "")) not in types:
        raise SignatureRefused("typ is not the one of this use")
    if "kid" in head and head["kid"] != thumbprint(public):
        raise SignatureRefused("kid is not that of the registered key")
    try:
        return bytes(
            jws.deserialize_compact(token, import_public(msgspec.json.encode(public)), algorithms=[expected]).payload
        )
    except (JoseError, ValueError):
        raise SignatureRefused("the signature is wrong") from None


def read_header(token: str) -> dict[str, Any]:
    """The protected header of a compact JWS, not yet verified; raises SignatureRefused for what it may not hold."""
    if len(token) > MAX_TOKEN_CHARS or not _COMPACT.fullmatch(token):
        raise SignatureRefused("not a compact JWS")
    return check_header(token.split(".", 1)[0])


def read_payload(token: str) -> bytes:
    """The payload of a compact JWS, not yet verified (to find whose key must verify it)."""
    read_header(token)
    return decode64(token.split(".")[1])


def check_header(protected: str) -> dict[str, Any]:
    """Decodes one base64url protected header; raises SignatureRefused for malformed or forbidden ones."""
    try:
        head = msgspec.json.decode(decode64(protected))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SignatureRefused("the protected header is not JSON") from None
    if not isinstance(head, dict):
        raise SignatureRefused("the protected header is not an object")
    if forbidden := sorted(set(head) - _HEADERS):
        raise SignatureRefused(f"header parameter {forbidden[0][:32]!r} is refused")
    if not all(isinstance(value, str) for value in head.values()):
        raise SignatureRefused("header parameters must be strings")
    return head


def encode64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode64(text: str) -> bytes:
    """Base64url without padding; raises SignatureRefused."""
    try:
        if not _BASE64URL.fullmatch(text):
            raise ValueError
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise SignatureRefused("not base64url") from None


@lru_cache(maxsize=4096)
def import_public(encoded: bytes) -> ECKey | OKPKey:
    """The library's key object of a JWK's JSON, kept; what it raises are JoseError, ValueError, TypeError, KeyError."""
    jwk = msgspec.json.decode(encoded)
    return ECKey.import_key(jwk) if jwk["kty"] == "EC" else OKPKey.import_key(jwk)


def _import_private(encoded: bytes) -> ECKey | OKPKey:
    return import_public.__wrapped__(encoded)  # never kept in the cache
