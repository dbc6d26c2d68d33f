"""A site's certificate authority, its certificates, and kubeconfigs made of them. Touches one folder."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=30)
_BACKDATE = datetime.timedelta(minutes=5)


class Authority:
    """A new CA in `folder`: `ca.crt` and `ca.key` there, and the certificates it signs. `since`, `until`: of all of
    them; five minutes ago, and in thirty days, where they are not given."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
    ) -> None:
        self.folder = folder
        self._since, self._until = since, until
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name, ())
        self._certificate = self._sign(self._subject, self._key, [x509.BasicConstraints(ca=True, path_length=0)], [])
        self.ca_file = folder / "ca.crt"
        self.ca_key_file = folder / "ca.key"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        write_key(self.ca_key_file, self._key)

    def serving(self, file: str, hosts: Sequence[str]) -> tuple[Path, Path]:
        """Writes a serving certificate for DNS names and addresses; returns (certificate, key)."""
        names: list[x509.GeneralName] = [_general(host) for host in hosts]
        return self._issue(
            file, _name(hosts[0], ()), [x509.SubjectAlternativeName(names)], ExtendedKeyUsageOID.SERVER_AUTH
        )

    def client(self, file: str, user: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """Writes a client certificate that Kubernetes reads as this user and groups."""
        return self._issue(file, _name(user, groups), [], ExtendedKeyUsageOID.CLIENT_AUTH)

    def kubeconfig(self, url: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Writes a kubeconfig, everything inline, mode 0600; the same user gets the same file anew."""
        file = user.replace(":", "-").replace("/", "-")
        certificate, key = self.client(file, user, groups)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "site", "cluster": {"server": url, "certificate-authority-data": _b64(self.ca_file)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)},
                }
            ],
            "contexts": [{"name": "site", "context": {"cluster": "site", "user": user}}],
            "current-context": "site",
        }
        place = self.folder / f"{file}.kubeconfig"
        place.touch(mode=0o600)
        place.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return place

    def _issue(
        self, file: str, subject: x509.Name, more: list[x509.ExtensionType], usage: x509.ObjectIdentifier
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(subject, key, [x509.BasicConstraints(ca=False, path_length=None), *more], [usage])
        certificate_file, key_file = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(key_file, key)
        return certificate_file, key_file

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: list[x509.ExtensionType],
        usages: list[x509.ObjectIdentifier],
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._since or now - _BACKDATE)
            .not_valid_after(self._until or now + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_key_usage(ca=not usages), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Writes a private key as PKCS 8 PEM, mode 0600."""
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def service_account_keys(folder: Path) -> tuple[Path, Path]:
    """Writes the key pair that signs and checks service account tokens; returns (private, public)."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "service-accounts.key", folder / "service-accounts.pub"
    write_key(private, key)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _name(common: str, organisations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _b64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
