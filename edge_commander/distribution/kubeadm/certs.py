"""Short-lived client certificates, signed by the site's authorities, which each server holds.

Reads the clock. cryptography's X.509 is imported where it is needed: most commanders never do.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from agents.core.errors import Rejected
from edge_commander.secrets.model import Authority

LIFE = datetime.timedelta(hours=2)
EARLY = datetime.timedelta(minutes=5)
"""Certificates begin this much in the past, as the LAN's clocks differ a little."""


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate and its key, PEM."""

    cert: str
    key: str = field(repr=False)


def client(authority: Authority, name: str, *groups: str, life: datetime.timedelta = LIFE) -> ClientCertificate:
    """A client's certificate with a new P-256 key; Kubernetes reads CN as the user and O as the groups.
    `life`: two hours, unless said otherwise. Raises Rejected when the authority is not one."""
    private, public = new_key()
    return ClientCertificate(certificate(authority, public, name, *groups, life=life), private)


def new_key() -> tuple[str, str]:
    """A new P-256 key, PEM: private (PKCS#8) and public (SubjectPublicKeyInfo)."""
    from edge_commander.secrets import authority

    private = authority.new_key()
    return private, authority.public_half(private)


def certificate(authority: Authority, public: str, name: str, *groups: str, life: datetime.timedelta = LIFE) -> str:
    """A client's certificate for a public P-256 key; all PEM. See `client`. Raises Rejected also for another key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    ca, ca_key = _load(authority)
    try:
        key = serialization.load_pem_public_key(public.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise Rejected("what is to be certified is no public P-256 key in PEM")
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _load(authority: Authority):  # type: ignore[no-untyped-def]
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        ca = x509.load_pem_x509_certificate(authority.cert.encode())
        return ca, serialization.load_pem_private_key(authority.key.encode(), None)
    except (ValueError, TypeError):
        raise Rejected("an authority of the site's secrets is not a certificate with its key in PEM") from None
