"""Plans and secrets of a made-up site, and a clock that nobody waits for."""

from __future__ import annotations

import datetime
import functools

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.port import ClusterPlan
from edge_commander.secrets.model import Authority, SiteSecrets

SITE = "store-01234"
TOKEN = "5f" * 32
SETTINGS = K3sSettings()


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_800_000_000_000

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@functools.cache
def authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(cert=made.public_bytes(serialization.Encoding.PEM).decode(), key=pem(key))


@functools.cache
def account_key(kind: str = "ec") -> str:
    made = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    return pem(made)


def secrets(epoch: int = 1, kind: str = "ec", token: str = TOKEN) -> SiteSecrets:
    return SiteSecrets(
        site=SITE,
        epoch=epoch,
        cluster=authority("cluster"),
        etcd=authority("etcd"),
        front_proxy=authority("front-proxy"),
        service_account_key=account_key(kind),
        token=token,
    )


def plan(node: str = "nuc-1", servers: tuple[str, ...] = (), epoch: int = 1, address: str = "192.0.2.1") -> ClusterPlan:
    return ClusterPlan(
        site=SITE, epoch=epoch, node=node, servers=servers, address=address, secrets=secrets(epoch=epoch)
    )
