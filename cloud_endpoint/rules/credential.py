"""A credential that one TPM alone can open, for one key in it: TPM2_MakeCredential without a TPM. Pure.

TPM 2.0 Library, Part 1, section 24 (credential protection), section 11.4.10 (KDFa, KDFe) and annexes B.10.4 and
C.6.1 (how the seed is shared by RSA and ECC); the endorsement key is taken to be of the TCG EK Credential Profile's
default templates L-1 or L-2 (SHA-256, AES-128-CFB). A key of another template cannot open what is made here.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from agents.core.errors import Rejected
from agents.core.tpm_public import RSA_BITS, RSA_EXPONENT, key_hash

SEED = 32
BLOCK = 16


@dataclass(frozen=True)
class EndorsementKey:
    """The public part. `hash` as on the shipping list."""

    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    hash: str


def read_endorsement(der: bytes) -> EndorsementKey:
    """Reads a SubjectPublicKeyInfo; raises Rejected for anything but RSA of 2048 bits and P-256."""
    try:
        public = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Rejected("not a public key in DER") from None
    if isinstance(public, rsa.RSAPublicKey):
        good = public.key_size == RSA_BITS and public.public_numbers().e == RSA_EXPONENT
    else:
        good = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    if not good or not isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise Rejected("the endorsement key must be RSA of 2048 bits or on P-256")
    plain = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return EndorsementKey(public, key_hash(plain))


def make_credential(ek: EndorsementKey, name: bytes, secret: bytes, random: Callable[[int], bytes]) -> bytes:
    """TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, one after the other.

    Only the TPM of `ek` gives `secret` (at most 32 bytes) out again, and only where a key of this Name is loaded, whose
    use it allows. `random(n)` gives n random bytes.
    """
    seed, shared = _share_seed(ek.public, random)
    key = kdfa(seed, b"STORAGE", name, 128)
    identity = _cfb(key, sized(secret))
    integrity = hmac.digest(kdfa(seed, b"INTEGRITY", b"", 256), identity + name, "sha256")
    return sized(sized(integrity) + identity) + sized(shared)


def kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa by SHA-256: NIST SP 800-108 in counter mode, with a zero between label and context."""
    derived = KBKDFHMAC(
        algorithm=hashes.SHA256(),
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return derived.derive(key)


def kdfe(shared_x: bytes, label: bytes, party_u: bytes, party_v: bytes, bits: int) -> bytes:
    """KDFe by SHA-256: the concatenation KDF of NIST SP 800-56A over the x coordinates, label ended by a zero."""
    info = label + b"\0" + party_u + party_v
    return ConcatKDFHash(hashes.SHA256(), bits // 8, info).derive(shared_x)


def sized(data: bytes) -> bytes:
    """A TPM2B: two bytes of length, then the data."""
    return len(data).to_bytes(2, "big") + data


def _share_seed(
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, random: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """The seed, and what tells it to the TPM alone."""
    if isinstance(public, rsa.RSAPublicKey):
        seed = random(SEED)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
        return seed, public.encrypt(seed, oaep)
    once = ec.generate_private_key(ec.SECP256R1())
    ours, theirs = once.public_key().public_numbers(), public.public_numbers()
    x, y = ours.x.to_bytes(32, "big"), ours.y.to_bytes(32, "big")
    seed = kdfe(once.exchange(ec.ECDH(), public), b"IDENTITY", x, theirs.x.to_bytes(32, "big"), 8 * SEED)
    return seed, sized(x) + sized(y)


def _cfb(key: bytes, plain: bytes) -> bytes:
    """AES in CFB mode from an IV of zeros (NIST SP 800-38A, section 6.3); the key is used once."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the block function of CFB
    out, last = b"", bytes(BLOCK)
    for at in range(0, len(plain), BLOCK):
        part = plain[at : at + BLOCK]
        last = bytes(a ^ b for a, b in zip(part, block.update(last), strict=False))
        out += last
    return out
