"""The site's secrets as the files that k3s picks up before its first start, and back again. Pure.

k3s takes six pieces (docs: certificate, "Using Custom CA Certificates"): authorities for servers, clients, request
headers, etcd's peers and etcd's clients, and the service accounts' key. We have three authorities, as kubeadm has:
the cluster's is that of servers and clients, etcd's that of both of its kinds. Each is self-signed and alone in its
file, as k3s' own are, so no chain is needed (deps.go). Keys are written in the traditional form (SEC 1, PKCS #1): so
do k3s itself and its example script. The files are the same on every server, byte by byte: k3s refuses to start where
a file differs from the cluster's and is newer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agents.core.errors import Rejected
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.facts import Marker
from edge_commander.distribution.k3s.files import TOKEN, File
from edge_commander.secrets.model import Authority, SiteSecrets

CERT_MODE, KEY_MODE = 0o644, 0o600
AUTHORITIES = (
    ("cluster", "server-ca-cert", "server-ca-key"),
    ("cluster", "client-ca-cert", "client-ca-key"),
    ("front_proxy", "request-header-ca-cert", "request-header-ca-key"),
    ("etcd", "etcd-peer-ca-cert", "etcd-peer-ca-key"),
    ("etcd", "etcd-server-ca-cert", "etcd-server-ca-key"),
)
"""Field of SiteSecrets, and the names of the two files made of it."""


def files(secrets: SiteSecrets) -> list[File]:
    """The tree of authorities, and the token. Raises Rejected for a key of a kind that k3s does not take."""
    found = []
    for field, cert, key in AUTHORITIES:
        authority: Authority = getattr(secrets, field)
        found.append(File(reference.path(cert), tidy(authority.cert), CERT_MODE))
        found.append(File(reference.path(key), traditional(authority.key, f"secrets.{field}.key"), KEY_MODE))
    account = traditional(secrets.service_account_key, "secrets.service_account_key")
    found.append(File(reference.path("service-key"), account, KEY_MODE))
    found.append(File(TOKEN, f"{token(secrets)}\n".encode()))
    return found


def token(secrets: SiteSecrets) -> str:
    """The token in k3s' secure form, with which a joining server knows its cluster before it tells the password.

    The hash is that of the file's bytes, for a bundle of one certificate (token.go, hashCA).
    """
    digest = hashlib.sha256(tidy(secrets.cluster.cert)).hexdigest()
    return f"{reference.name('token-prefix')}{digest}::{reference.name('token-user')}:{secrets.token}"


def collect(marker: Marker, content: Mapping[str, bytes]) -> SiteSecrets:
    """The secrets out of the files of a member. Raises Rejected when one is missing or is no such file."""

    def take(path: str) -> bytes:
        if path not in content:
            raise Rejected("is missing", file=path)
        return content[path]

    found = {
        field: Authority(
            cert=take(reference.path(cert)).decode(),
            key=pkcs8(take(reference.path(key)), reference.path(key)),
        )
        for field, cert, key in reversed(AUTHORITIES)
    }
    service = reference.path("service-key")
    return SiteSecrets(
        site=marker.site,
        epoch=marker.epoch,
        generation=marker.generation,
        cluster=found["cluster"],
        etcd=found["etcd"],
        front_proxy=found["front_proxy"],
        service_account_key=pkcs8(take(service), service),
        token=take(TOKEN).decode().strip().rpartition(":")[2],
    )


def differences(ours: SiteSecrets, theirs: SiteSecrets) -> list[str]:
    """What of the secrets is not the same, by name; empty when a server with either can be in one cluster."""
    pairs = zip(files(ours), files(theirs), strict=True)
    return [one.path for one, other in pairs if one.content != other.content]


def tidy(pem: str) -> bytes:
    """One PEM block with one end of line: the token's hash is made of these bytes."""
    return (pem.strip() + "\n").encode()


def traditional(pem: str, name: str) -> bytes:
    """A private key as `EC PRIVATE KEY` or `RSA PRIVATE KEY`."""
    from cryptography.hazmat.primitives import serialization as s

    return _loaded(pem.encode(), name).private_bytes(  # type: ignore[no-any-return]
        s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption()
    )


def pkcs8(pem: bytes, name: str) -> str:
    """A private key as PKCS #8."""
    from cryptography.hazmat.primitives import serialization as s

    done: bytes = _loaded(pem, name).private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    return done.decode()


def _loaded(pem: bytes, name: str):  # type: ignore[no-untyped-def]
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Rejected("is no private key", path=name) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Rejected("k3s takes EC and RSA keys only", path=name)
    return key
