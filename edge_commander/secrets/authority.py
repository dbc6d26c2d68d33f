"""Makes a site's secrets, and checks those that came from a sibling. Touches the machine's randomness alone.

Names and uses as Kubernetes' documentation lists them (PKI certificates and requirements). Three authorities are made
once per epoch and never change within it; nobody else ever signs with them.
"""

from __future__ import annotations

import datetime
import secrets as randomness

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.contracts.ids import SiteId
from agents.core.errors import Rejected
from edge_commander.secrets import rotation
from edge_commander.secrets.model import Authority, SiteSecrets
from edge_commander.trusted_time import Time, trusted_ms

LIFE = datetime.timedelta(days=3650)
BACKDATE = datetime.timedelta(hours=1)
"""Valid a little before they are made: a sibling's clock may be behind."""
EARLIEST = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
LATEST = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
"""No authority is made at a time outside of these, whatever the clock gate believes, nor is one valid past LATEST."""
NAMES = {"cluster": "kubernetes", "etcd": "etcd-ca", "front_proxy": "front-proxy-ca"}


class SecretsUnsound(Rejected):
    """Certificates and keys do not belong together. The text names which, never their content."""


def make_secrets(site: SiteId, epoch: int, time: Time) -> SiteSecrets:
    """New secrets of generation 1. Raises ClockNotTrusted, Rejected where the time is out of all sense."""
    now = datetime.datetime.fromtimestamp(trusted_ms(time) // 1000, datetime.UTC)
    if not EARLIEST <= now < LATEST:
        raise Rejected(f"no authority is made in the year {now.year}")
    return SiteSecrets(
        site=site,
        epoch=epoch,
        cluster=_authority(NAMES["cluster"], site, epoch, now),
        etcd=_authority(NAMES["etcd"], site, epoch, now),
        front_proxy=_authority(NAMES["front_proxy"], site, epoch, now),
        service_account_key=new_key(),
        token=new_token(),
    )


def make_next(held: SiteSecrets, number: int, order: int, time: Time, *, keys: bool) -> SiteSecrets:
    """The generation after `held`, numbered `number`, by operators' order `order`. `keys`: the distribution
    takes a new service accounts' key and a new token; else nothing changes but the number, by which leaf certificates
    are renewed. Raises ClockNotTrusted."""
    trusted_ms(time)
    if not keys:
        return msgspec.structs.replace(held, generation=number, order=max(order, held.order))
    old = public_half(held.service_account_key)
    return rotation.following(held, number, order, token=new_token(), key=new_key(), public=old)


def new_key() -> str:
    """A private key: P-256, PKCS#8 in PEM."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def new_token() -> str:
    """256 random bits, hexadecimal."""
    return randomness.token_hex(32)


def service_account_public(secrets: SiteSecrets) -> str:
    """The public halves of all keys whose tokens are accepted, PEM; that of the one that signs comes first."""
    following = public_half(secrets.service_account_next) if secrets.service_account_next else ""
    return public_half(secrets.service_account_key) + following + secrets.service_account_old


def public_half(key: str) -> str:
    """The public half of a private key, both PEM. Raises SecretsUnsound."""
    return (
        _private(key, "service_account_key")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def check(secrets: SiteSecrets) -> None:
    """Raises SecretsUnsound unless each authority is one, signed itself and fits its key, all different."""
    keys = [_check_authority(getattr(secrets, field), field) for field in NAMES]
    keys.append(_spki(_private(secrets.service_account_key, "service_account_key").public_key()))
    if secrets.service_account_next:
        keys.append(_spki(_private(secrets.service_account_next, "service_account_next").public_key()))
    if secrets.service_account_old:
        keys.append(_spki(_public(secrets.service_account_old, "service_account_old")))
    if len(set(keys)) != len(keys):
        raise SecretsUnsound("a key serves twice")


def _authority(common: str, site: SiteId, epoch: int, now: datetime.datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{site} epoch {epoch}"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + LIFE, LATEST))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(cert=certificate.public_bytes(serialization.Encoding.PEM).decode(), key=_pem(key))


def _check_authority(authority: Authority, field: str) -> bytes:
    """The public key of a sound one."""
    key = _private(authority.key, field)
    try:
        certificate = x509.load_pem_x509_certificate(authority.cert.encode())
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - a parser of foreign data: whatever it raises, this is no authority
        raise SecretsUnsound("is no self-signed certificate", path=field) from None
    own = _spki(key.public_key())
    if not is_ca or own != _spki(certificate.public_key()):
        raise SecretsUnsound("is no authority, or its key is another's", path=field)
    return own


def _private(pem: str, field: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except Exception:  # noqa: BLE001 - as above; the cause could quote the key
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecretsUnsound("is no private EC key in PEM", path=field)
    return key


def _public(pem: str, field: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception:  # noqa: BLE001 - as above
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SecretsUnsound("is no public EC key in PEM", path=field)
    return key


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
