"""Credentials for a TPM: made by our code, opened here as the specification tells a TPM to open them.

That a TPM itself opens them is in tests/integration/commander/test_tpm_credentials.py.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from agents.contracts.identity import EnrolRequest
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, decode64, encode64
from cloud_endpoint.rules.credential import kdfa, kdfe, make_credential, read_endorsement, sized
from cloud_endpoint.rules.endorsement import read_shown

NAME = b"\x00\x0b" + hashlib.sha256(b"a public area").digest()


def der(key: Any) -> bytes:
    return key.public_key().public_bytes(  # type: ignore[no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def unsized(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:2], "big")
    assert len(data) >= 2 + length
    return data[2 : 2 + length], data[2 + length :]


def by_hand_kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    out, count = b"", 1
    while len(out) < bits // 8:
        fixed = struct.pack(">I", count) + label + b"\0" + context + struct.pack(">I", bits)
        out, count = out + hmac.digest(key, fixed, "sha256"), count + 1
    return out[: bits // 8]


def open_credential(key: Any, name: bytes, credential: bytes) -> bytes | None:
    """What TPM2_ActivateCredential does, Part 3, section 12.5.3. None: the integrity check failed."""
    identity_object, rest = unsized(credential)
    shared, rest = unsized(rest)
    assert rest == b""
    if isinstance(key, rsa.RSAPrivateKey):
        seed = key.decrypt(shared, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0"))
    else:
        x, after = unsized(shared)
        y, after = unsized(after)
        assert after == b""
        once = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        z = key.exchange(ec.ECDH(), once.public_key())
        own = key.public_key().public_numbers().x.to_bytes(32, "big")
        seed = hashlib.sha256(b"\0\0\0\x01" + z + b"IDENTITY\0" + x + own).digest()
    integrity, encrypted = unsized(identity_object)
    if integrity != hmac.digest(by_hand_kdfa(seed, b"INTEGRITY", b"", 256), encrypted + name, "sha256"):
        return None
    out, last = b"", bytes(16)
    block = Cipher(algorithms.AES(by_hand_kdfa(seed, b"STORAGE", name, 128)), modes.ECB()).encryptor()
    for at in range(0, len(encrypted), 16):
        part = encrypted[at : at + 16]
        out += bytes(a ^ b for a, b in zip(part, block.update(last), strict=False))
        last = part
    found, rest = unsized(out)
    assert rest == b""
    return found


KEYS = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ecc": ec.generate_private_key(ec.SECP256R1()),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("length", [1, 15, 16, 32])
def test_its_own_key_and_name_open_it_and_no_other(kind: str, length: int) -> None:
    key, secret = KEYS[kind], secrets.token_bytes(length)
    made = make_credential(read_endorsement(der(key)), NAME, secret, secrets.token_bytes)
    assert open_credential(key, NAME, made) == secret
    assert open_credential(key, NAME[:-1] + b"\0", made) is None
    assert secret not in made or length == 1
    other = ec.generate_private_key(ec.SECP256R1())
    if kind == "ecc":
        assert open_credential(other, NAME, made) is None


def test_no_two_are_alike() -> None:
    for key in KEYS.values():
        ek = read_endorsement(der(key))
        assert make_credential(ek, NAME, b"s", secrets.token_bytes) != make_credential(
            ek, NAME, b"s", secrets.token_bytes
        )


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_the_derivations_are_those_of_the_specification(bits: int) -> None:
    for label, context in ((b"STORAGE", NAME), (b"INTEGRITY", b"")):
        assert kdfa(b"k" * 32, label, context, bits) == by_hand_kdfa(b"k" * 32, label, context, bits)
    z, u, v = b"z" * 32, b"u" * 32, b"v" * 32
    blocks = [hashlib.sha256(struct.pack(">I", n) + z + b"IDENTITY\0" + u + v).digest() for n in (1, 2)]
    assert kdfe(z, b"IDENTITY", u, v, bits) == b"".join(blocks)[: bits // 8]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x30\x00",
        der(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        der(rsa.generate_private_key(public_exponent=3, key_size=2048)),
        der(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "no key", "RSA 1024", "exponent 3", "P-384"],
)
def test_other_endorsement_keys_are_refused(bad: bytes) -> None:
    with pytest.raises(Rejected):
        read_endorsement(bad)


def area(key: SoftwareKey, attributes: int = 0x00040472) -> bytes:
    """A public area as a TPM would write it, of a key that no TPM has."""
    head = bytes.fromhex("0023000b") + attributes.to_bytes(4, "big") + bytes.fromhex("000000100018000b00030010")
    return sized(head + sized(decode64(key.public["x"])) + sized(decode64(key.public["y"])))


def request(key: SoftwareKey, **changes: str) -> EnrolRequest:
    fields: dict[str, Any] = {"ek": encode64(der(KEYS["ecc"])), "key_public": encode64(area(key)), **changes}
    return EnrolRequest(hardware_id="h", signing=key.public, sealing={}, proof="", **fields)


def test_what_is_shown_is_read() -> None:
    key = SoftwareKey.generate()
    shown = read_shown(request(key, challenge_answer="YWI"))
    assert shown is not None and shown.answer == b"ab"
    assert shown.ek.hash == hashlib.sha256(der(KEYS["ecc"])).hexdigest()
    assert shown.name == b"\x00\x0b" + hashlib.sha256(area(key)[2:]).digest()
    assert read_shown(request(key, ek="")) is None


OTHER = SoftwareKey.generate()


@pytest.mark.parametrize(
    ("changes", "path", "cause"),
    [
        ({"ek": "AAAA"}, "$.ek", "public key"),
        ({"ek": "!"}, "$.ek", "base64url"),
        ({"key_public": ""}, "$.key_public", "cut off"),
        ({"key_public": encode64(area(OTHER))}, "$.key_public", "not the public area of the signing key"),
        ({"challenge_answer": "!"}, "$.challenge_answer", "base64url"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes: dict[str, str], path: str, cause: str) -> None:
    with pytest.raises(Rejected, match=cause) as error:
        read_shown(request(SoftwareKey.generate(), **changes))
    assert error.value.path == path


@pytest.mark.parametrize("bit", [1, 4, 5, 18])
def test_a_key_that_may_come_from_outside_or_go_there_is_refused(bit: int) -> None:
    key = SoftwareKey.generate()
    weaker = area(key, 0x00040472 & ~(1 << bit))
    with pytest.raises(Rejected, match="outside a TPM"):
        read_shown(request(key, key_public=encode64(weaker)))
