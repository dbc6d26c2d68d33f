"""Certificates for demo and tests alone: a CA of its own and one server certificate; touches the given directory."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.core.errors import Rejected
from agents.core.settings import address
from agents.io.state import write_durably

DAYS = 30
NAMES = ("localhost", "127.0.0.1", "::1")
CA, CERTIFICATE, KEY = "ca.pem", "server.pem", "server-key.pem"
_LABEL = "[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_DNS = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def make_certs(directory: Path, names: Sequence[str] = NAMES, *, force: bool = False) -> datetime:
    """Writes ca.pem, server.pem and server-key.pem (0600) and tells until when they are valid: for 30 days. The CA's
    key is not kept. Raises Rejected for a name that no server has, and, but with `force`, where one of the files is
    there: who has that ca.pem would trust the endpoint no longer."""
    wrong = [name for name in names if not _is_name(name)]
    if wrong:
        raise Rejected(f"{wrong[0]!r} is no DNS name, such as galley.example, and no address", path="--name")
    there = [name for name in (CA, CERTIFICATE, KEY) if os.path.lexists(directory / name)]
    if there and not force:
        text = "exists already, and who has that ca.pem would not trust another: --force replaces it, or name a new"
        raise Rejected(f"{text} folder", file=str(directory / there[0]))
    now = datetime.now(UTC) - timedelta(minutes=5)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Galley demo CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Galley demo endpoint")])
    server = (
        _builder(name, ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(directory / CA, ca.public_bytes(pem), 0o644)
        _write(directory / CERTIFICATE, server.public_bytes(pem), 0o644)
        _write(directory / KEY, secret, 0o600)
    except OSError as error:
        raise Rejected(f"cannot be written: {error.strerror}", file=str(directory)) from None
    return server.not_valid_after_utc


def _write(path: Path, data: bytes, mode: int) -> None:
    """A file that is replaced keeps its owner: the daemon that reads the key is another user than who makes it."""
    try:
        before = path.stat()
    except FileNotFoundError:
        write_durably(path, data, mode)
    else:
        write_durably(path, data, mode, owner=(before.st_uid, before.st_gid))


def _is_name(text: str) -> bool:
    """A server's: an address without a zone, or a DNS name, whose last part is then no number (RFC 1123, 2.1)."""
    if address(text) is not None:
        return "%" not in text
    return len(text) <= 253 and _DNS.fullmatch(text) is not None and not text.rpartition(".")[2].isdigit()


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=DAYS))
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
