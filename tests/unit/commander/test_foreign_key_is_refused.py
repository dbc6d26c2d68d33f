"""A worker's public key that this node's library does not know is an answer, not a crash."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.core.errors import Rejected
from edge_commander.distribution.kubeadm import certs
from edge_commander.secrets.model import Authority

P256, P256_UNKNOWN = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")
EC, EC_UNKNOWN = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d027f")


@pytest.mark.parametrize(("known", "unknown"), [(P256, P256_UNKNOWN), (EC, EC_UNKNOWN)], ids=["curve", "algorithm"])
def test_a_key_of_an_unknown_kind_is_refused(known: bytes, unknown: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certs, "_load", lambda authority: (None, None))
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    spki = public.public_bytes(serialization.Encoding.DER, form).replace(known, unknown)
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(spki).decode()}-----END PUBLIC KEY-----\n"
    with pytest.raises(Rejected, match="no public P-256 key"):
        certs.certificate(Authority(cert="", key=""), pem, "nuc-9")
