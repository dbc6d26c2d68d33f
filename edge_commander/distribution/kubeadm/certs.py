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
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    ca, ca_key = _load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ClientCertificate(made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode())


def _load(authority: Authority):  # type: ignore[no-untyped-def]
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        ca = x509.load_pem_x509_certificate(authority.cert.encode())
        return ca, serialization.load_pem_private_key(authority.key.encode(), None)
    except (ValueError, TypeError):
        raise Rejected("an authority of the site's secrets is not a certificate with its key in PEM") from None
