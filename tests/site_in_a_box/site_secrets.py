"""Makes a site's secrets for tests: three authorities with P-256 keys, the service accounts' key and a token."""

from __future__ import annotations

import datetime
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_commander.secrets.model import Authority, SiteSecrets


def make(site: str, epoch: int = 1) -> SiteSecrets:
    """New secrets of one site and epoch."""
    return SiteSecrets(
        site=site,
        epoch=epoch,
        cluster=authority("kubernetes"),
        etcd=authority("etcd-ca"),
        front_proxy=authority("front-proxy-ca"),
        service_account_key=_pem(ec.generate_private_key(ec.SECP256R1())),
        token=secrets.token_hex(32),
    )


def authority(name: str) -> Authority:
    """A self-signed certificate authority, valid ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=True,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(cert=made.public_bytes(serialization.Encoding.PEM).decode(), key=_pem(key))


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
