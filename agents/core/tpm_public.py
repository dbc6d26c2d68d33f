"""The public area of a TPM 2.0 key: what of it is read, its Name, and the same key as others write it. Pure.

TPM 2.0 Library, Part 2, section 12.2.4 (TPMT_PUBLIC); Part 1, section 16 (Names). Only what Galley has in a TPM is
read: ECC keys on P-256 and RSA keys of 2048 bits, both named by SHA-256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntFlag

from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, canonical, decode64, encode64

RSA, ECC, NULL, SHA256, P256 = 0x0001, 0x0023, 0x0010, 0x000B, 0x0003
MAX_PUBLIC = 1024
RSA_BITS, RSA_EXPONENT = 2048, 65537


class PublicRefused(Rejected):
    """Not a public area, or of a kind that Galley does not use."""


class Attributes(IntFlag):
    """TPMA_OBJECT, Part 2, section 8.3: those that say where a key was made and where it may go."""

    FIXED_TPM = 1 << 1
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    SIGN = 1 << 18


BORN_IN_TPM = Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.SENSITIVE_DATA_ORIGIN
"""Made by the TPM, and never to leave it: the TPM refuses to load a private part under these from anywhere else."""


@dataclass(frozen=True)
class PublicArea:
    """`name`: algorithm and digest, 34 bytes. `x`, `y` of an ECC key, `n` of an RSA key, big-endian."""

    name: bytes
    attributes: Attributes
    x: bytes = b""
    y: bytes = b""
    n: bytes = b""

    @property
    def jwk(self) -> Jwk:
        """The same key as a JWK; raises PublicRefused for an RSA key, SignatureRefused for a point off the curve."""
        if not self.x:
            raise PublicRefused("an RSA key where one on P-256 belongs")
        return canonical({"kty": "EC", "crv": "P-256", "x": encode64(self.x), "y": encode64(self.y)})


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise PublicRefused("the public area is cut off")
        self._at += count
        return part

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise PublicRefused("the public area is followed by something")


def read_public(data: bytes) -> PublicArea:
    """Reads a TPM2B_PUBLIC; raises PublicRefused."""
    if len(data) > MAX_PUBLIC:
        raise PublicRefused("the public area is too large")
    outer = _Reader(data)
    area = outer.sized()
    outer.end()
    reader = _Reader(area)
    kind, hashed = reader.number(), reader.number()
    if hashed != SHA256:
        raise PublicRefused("the key is not named by SHA-256")
    attributes = Attributes(reader.number(4))
    reader.sized()  # the policy that guards its use
    if reader.number() != NULL:  # symmetric: AES, bits, mode of a key that wraps others
        reader.take(4)
    if reader.number() != NULL:  # scheme and its hash
        reader.take(2)
    name = SHA256.to_bytes(2, "big") + hashlib.sha256(area).digest()
    if kind == ECC:
        return _ecc(reader, name, attributes)
    if kind == RSA:
        return _rsa(reader, name, attributes)
    raise PublicRefused("the key is neither ECC nor RSA")


def _ecc(reader: _Reader, name: bytes, attributes: Attributes) -> PublicArea:
    if reader.number() != P256:
        raise PublicRefused("the key is not on P-256")
    if reader.number() != NULL:  # key derivation and its hash
        reader.take(2)
    x, y = reader.sized(), reader.sized()
    reader.end()
    if not (0 < len(x) <= 32 and 0 < len(y) <= 32):
        raise PublicRefused("the key's point is not one of P-256")
    return PublicArea(name, attributes, x=x.rjust(32, b"\0"), y=y.rjust(32, b"\0"))


def _rsa(reader: _Reader, name: bytes, attributes: Attributes) -> PublicArea:
    bits, exponent = reader.number(), reader.number(4)
    n = reader.sized()
    reader.end()
    if bits != RSA_BITS or exponent not in (0, RSA_EXPONENT) or len(n) != RSA_BITS // 8:
        raise PublicRefused(f"the RSA key is not one of {RSA_BITS} bits")
    return PublicArea(name, attributes, n=n)


def subject_public_key(area: PublicArea) -> bytes:
    """The key as SubjectPublicKeyInfo, DER (RFC 5280): what an endorsement key's certificate holds too."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    try:
        if area.n:
            key = rsa.RSAPublicNumbers(RSA_EXPONENT, int.from_bytes(area.n, "big")).public_key()
        else:
            x, y = int.from_bytes(area.x, "big"), int.from_bytes(area.y, "big")
            key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise PublicRefused("the key is no valid public key") from None
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_hash(der: bytes) -> str:
    """How an endorsement key is named on the shipping list: SHA-256 of its SubjectPublicKeyInfo, lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def write_point(public: Jwk) -> bytes:
    """A JWK's point as TPM2B_ECC_POINT; raises SignatureRefused for a key that is not on P-256."""
    checked = canonical(public)
    if checked["kty"] != "EC":
        raise SignatureRefused("the key must be on P-256")
    numbers = [int.from_bytes(decode64(checked[part]), "big") for part in ("x", "y")]
    return _sized(b"".join(_sized(number.to_bytes(32, "big")) for number in numbers))


def read_point_x(data: bytes) -> bytes:
    """The x coordinate of a TPM2B_ECC_POINT, 32 bytes; raises PublicRefused."""
    outer = _Reader(data)
    inner = _Reader(outer.sized())
    x = inner.sized()
    if not 0 < len(x) <= 32:
        raise PublicRefused("the point is not one of P-256")
    return x.rjust(32, b"\0")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
