"""Public areas as a TPM writes them, whole and damaged; what is read of them is what others know of the same key."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.core.jose import SignatureRefused, SoftwareKey, decode64
from agents.core.tpm_public import (
    BORN_IN_TPM,
    Attributes,
    PublicRefused,
    key_hash,
    read_point_x,
    read_public,
    subject_public_key,
    write_point,
)

SIGNING = bytes.fromhex(
    "00580023000b00040472000000100018000b00030010002060fe832efb53ce442463d8871a59c9b7c4992ec5309be73a5cba9a405c715bf6"
    "002024dc3076ad1594ff2dc0dbe3960c56cbc644e5d6bd5bbabb6c5ff585d73da256"
)
EK_ECC = bytes.fromhex(
    "007a0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa0006008000430010000300100020"
    "46ea9e340752a259052056127f5276b6e6b2c1635ec9543284e61929dc161b130020d2fc79f29c61d398550814abbf139da1d1b3e73f9547cec5"
    "ae45a609642e47f4"
)
"""As tpm2_create and tpm2_createek wrote them; every length and constant of both was checked by hand."""


def test_a_signing_key() -> None:
    area = read_public(SIGNING)
    assert area.name == b"\x00\x0b" + hashlib.sha256(SIGNING[2:]).digest()
    assert area.attributes & BORN_IN_TPM == BORN_IN_TPM and area.attributes & Attributes.SIGN
    assert area.jwk["crv"] == "P-256" and decode64(area.jwk["x"]) == SIGNING[24:56] and len(area.y) == 32


def test_an_endorsement_key_and_its_hash() -> None:
    area = read_public(EK_ECC)
    assert not area.attributes & Attributes.SIGN
    key = serialization.load_der_public_key(subject_public_key(area))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.public_numbers().x.to_bytes(32, "big") == area.x
    assert key_hash(subject_public_key(area)) == hashlib.sha256(subject_public_key(area)).hexdigest()


@pytest.mark.parametrize("area", [SIGNING, EK_ECC], ids=["signing", "ek"])
def test_cut_off_or_longer_it_is_refused(area: bytes) -> None:
    for length in range(len(area)):
        with pytest.raises(PublicRefused):
            read_public(area[:length])
        inner = area[2:length]
        with pytest.raises(PublicRefused):
            read_public(len(inner).to_bytes(2, "big") + inner)
    with pytest.raises(PublicRefused, match="followed"):
        read_public(area + b"\0")
    inner = area[2:] + b"\0"
    with pytest.raises(PublicRefused, match="followed"):
        read_public(len(inner).to_bytes(2, "big") + inner)


@pytest.mark.parametrize(
    ("at", "value", "cause"),
    [
        (2, b"\x00\x25", "neither"),
        (4, b"\x00\x0c", "SHA-256"),
        (18, b"\x00\x04", "P-256"),
        (22, b"\x00\x00", "cut off|followed|point"),
    ],
)
def test_another_kind_is_refused(at: int, value: bytes, cause: str) -> None:
    with pytest.raises(PublicRefused, match=cause):
        read_public(SIGNING[:at] + value + SIGNING[at + 2 :])


def test_a_point_off_the_curve_is_no_key() -> None:
    area = read_public(SIGNING[:-1] + bytes([SIGNING[-1] ^ 1]))
    with pytest.raises(SignatureRefused):
        area.jwk  # noqa: B018 - reading it is the test
    with pytest.raises(PublicRefused):
        subject_public_key(area)


def test_points_are_written_and_read_with_leading_zeros() -> None:
    key = SoftwareKey.generate().public
    point = write_point(key)
    assert len(point) == 70 and read_point_x(point) == decode64(key["x"])
    assert read_point_x(bytes.fromhex("00050001070000")[:7]) == bytes(31) + b"\x07"
    with pytest.raises(PublicRefused):
        read_point_x(point[:-40])
    with pytest.raises(SignatureRefused):
        write_point(SoftwareKey.generate("Ed25519").public | {"kty": "EC"})
