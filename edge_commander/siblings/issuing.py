"""X.509 certificates of the siblings' channel: leaves that a device key signs, anchors that stand for a roster. Pure.

The device key may lie in a TPM and signs bytes, nothing else. What it signs otherwise is JWS (ASCII text with a
dot); a certificate begins with byte 0x30 0x82, so neither passes for the other.
"""

from __future__ import annotations

import datetime
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.contracts.ids import NodeId
from agents.core.jose import Jwk, Signer
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS, public_key

_ALWAYS = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FOR_EVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class SignerKey(ec.EllipticCurvePrivateKey):
    """A `Signer` in the dress of a private key of `cryptography`, for its certificate builder: it signs, and has
    nothing else to give."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def __repr__(self) -> str:
        return "SignerKey()"

    def __copy__(self) -> SignerKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SignerKey:
        return self

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        """In bits."""
        return 256

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return public_key(self._signer.public)

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA with SHA-256 alone (what ES256 is), as DER (RFC 3279 section 2.2.3)."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise TypeError("a device key signs with SHA-256")
        raw = self._signer.sign(bytes(data))
        if len(raw) != 64:
            raise ValueError("a raw ES256 signature has 64 bytes")
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Refused."""
        raise TypeError("a device's signing key only signs")

    def private_numbers(self) -> NoReturn:
        """Refused."""
        raise TypeError("a device key stays where it is")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        """Refused."""
        raise TypeError("a device key stays where it is")


def issue_leaf(node: NodeId, signer: Signer, key: ec.EllipticCurvePublicKey, now_ms: int) -> x509.Certificate:
    """The certificate of `key` for this node, valid from an hour ago until 24 hours from now (`now_ms`: Unix)."""
    issuer = public_key(signer.public)
    return (
        _builder(node, device_name(node), key)
        .not_valid_before(_moment(now_ms - BACKDATE_MS))
        .not_valid_after(_moment(now_ms + LIFETIME_MS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(SignerKey(signer), hashes.SHA256())
    )


def anchor(node: NodeId, signing: Jwk, stand_in: ec.EllipticCurvePrivateKey) -> bytes:
    """A trust anchor, PEM, that lets OpenSSL know a member's signing key: it may vouch for that member's name alone.

    No device ever made it. An anchor is believed because it is in the store; `stand_in`, a throwaway key, only fills
    the field of its signature, which nobody checks (RFC 5280 section 6.1.1 d: an anchor is a name and a key).
    """
    key = public_key(signing)
    certificate = (
        _builder(device_name(node), f"roster entry {node}", key)
        .not_valid_before(_ALWAYS)
        .not_valid_after(_FOR_EVER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(node)], None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(stand_in.public_key()), critical=False)
        .sign(stand_in, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def device_name(node: NodeId) -> str:
    """The common name under which a node's signing key issues."""
    return f"device key of {node}"


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _moment(ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
