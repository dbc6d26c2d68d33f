"""A real etcd and a real API server take the site's authorities, each for its own use."""

from __future__ import annotations

import datetime
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_commander.secrets.authority import make_secrets, service_account_public
from edge_commander.secrets.model import Authority
from tests.fakes.siblings import TurnedTime
from tests.site_in_a_box.kube_certs import write_key
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program, stop_all

DAY = datetime.timedelta(days=1)


def issue(folder: Path, name: str, authority: Authority, common: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
    """Certificate and key for a server on 127.0.0.1 and a client, signed by this authority."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(authority.cert.encode())
    ca_key = serialization.load_pem_private_key(authority.key.encode(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY / 48)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(ca_key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_key(key_file, key)
    return cert_file, key_file


@dataclass
class Plane:
    """Etcd and API server, running, with files of the site's secrets below `folder`."""

    folder: Path
    api: int
    etcd: int

    def get(self, port: int, ca: str, client: tuple[Path, Path] | None, path: str, **more: str) -> tuple[int, bytes]:
        """Status and body of a request; status 0 when TLS does not come about."""
        context = ssl.create_default_context(cafile=str(self.folder / f"{ca}.crt"))
        if client is not None:
            context.load_cert_chain(*client)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        try:
            connection.request("POST" if "body" in more else "GET", path, more.get("body"), _headers(more))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def _headers(more: dict[str, str]) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if "token" in more:
        headers["Authorization"] = f"Bearer {more['token']}"
    if "user" in more:
        headers["X-Remote-User"] = more["user"]
    return headers


SECRETS = make_secrets("store-01234", 1, TurnedTime())
OTHER = make_secrets("store-01234", 2, TurnedTime())


@pytest.fixture(scope="module")
def plane(kube_binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("site-secrets")
    for name, authority in (("ca", SECRETS.cluster), ("etcd", SECRETS.etcd), ("front-proxy", SECRETS.front_proxy)):
        (folder / f"{name}.crt").write_text(authority.cert)
    (folder / "sa.key").write_text(SECRETS.service_account_key)
    (folder / "sa.pub").write_text(service_account_public(SECRETS))
    etcd_cert, etcd_key = issue(folder, "etcd-server", SECRETS.etcd, "nuc-a")
    to_etcd, to_etcd_key = issue(folder, "apiserver-etcd-client", SECRETS.etcd, "kube-apiserver-etcd-client")
    api_cert, api_key = issue(folder, "apiserver", SECRETS.cluster, "kube-apiserver")
    running = Plane(folder, api=free_port(), etcd=free_port())
    peer = f"https://127.0.0.1:{free_port()}"
    etcd = Program(
        "etcd",
        [
            kube_binaries / "etcd", "--name=nuc-a", f"--data-dir={folder / 'data'}", "--unsafe-no-fsync",
            f"--listen-client-urls=https://127.0.0.1:{running.etcd}",
            f"--advertise-client-urls=https://127.0.0.1:{running.etcd}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=nuc-a={peer}",
            f"--cert-file={etcd_cert}", f"--key-file={etcd_key}", "--client-cert-auth",
            f"--trusted-ca-file={folder / 'etcd.crt'}", f"--peer-cert-file={etcd_cert}", f"--peer-key-file={etcd_key}",
            "--peer-client-cert-auth", f"--peer-trusted-ca-file={folder / 'etcd.crt'}", "--log-level=warn",
        ],
        log=folder / "etcd.log",
    )  # fmt: skip
    api = Program(
        "kube-apiserver",
        [
            kube_binaries / "kube-apiserver", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={running.api}", f"--etcd-servers=https://127.0.0.1:{running.etcd}",
            f"--etcd-cafile={folder / 'etcd.crt'}", f"--etcd-certfile={to_etcd}", f"--etcd-keyfile={to_etcd_key}",
            f"--client-ca-file={folder / 'ca.crt'}", f"--tls-cert-file={api_cert}", f"--tls-private-key-file={api_key}",
            f"--requestheader-client-ca-file={folder / 'front-proxy.crt'}",
            "--requestheader-allowed-names=front-proxy-client", "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group", "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}", "--endpoint-reconciler-type=none",
        ],
        log=folder / "apiserver.log",
    )  # fmt: skip
    admin = issue(folder, "admin", SECRETS.cluster, "admin", ["system:masters"])
    try:
        etcd.start()
        api.start()
        api.wait_ready(lambda: running.get(running.api, "ca", admin, "/readyz")[0] == 200, seconds=120)
        yield running
    finally:
        stop_all([api, etcd], grace=5)


@pytest.mark.timeout(400)
def test_the_api_server_runs_on_the_sites_secrets(plane: Plane) -> None:
    folder = plane.folder
    admin = (folder / "admin.crt", folder / "admin.key")
    assert plane.get(plane.api, "ca", admin, "/api/v1/namespaces")[0] == 200
    assert plane.get(plane.api, "ca", None, "/api/v1/namespaces")[0] in (401, 403)
    assert plane.get(plane.api, "etcd", admin, "/readyz")[0] == 0, "another authority does not vouch for it"


def test_a_certificate_of_another_authority_or_epoch_is_nobody(plane: Plane) -> None:
    for name, authority in (("by-etcd", SECRETS.etcd), ("by-proxy", SECRETS.front_proxy), ("old", OTHER.cluster)):
        client = issue(plane.folder, name, authority, "admin", ["system:masters"])
        assert plane.get(plane.api, "ca", client, "/api/v1/namespaces")[0] == 401
    for name, authority in (("etcd-by-cluster", SECRETS.cluster), ("etcd-old", OTHER.etcd)):
        client = issue(plane.folder, name, authority, "root")
        assert plane.get(plane.etcd, "etcd", client, "/health")[0] == 0
    good = issue(plane.folder, "etcd-good", SECRETS.etcd, "root")
    assert plane.get(plane.etcd, "etcd", good, "/health")[0] == 200


def test_service_accounts_tokens_are_signed_and_known(plane: Plane) -> None:
    folder = plane.folder
    admin = (folder / "admin.crt", folder / "admin.key")
    deadline = time.monotonic() + 30
    account = json.dumps({"metadata": {"name": "one"}})
    while plane.get(plane.api, "ca", admin, "/api/v1/namespaces/default/serviceaccounts", body=account)[0] != 201:
        assert time.monotonic() < deadline, "the namespace default was never made"
        time.sleep(0.2)
    status, body = plane.get(
        plane.api, "ca", admin, "/api/v1/namespaces/default/serviceaccounts/one/token", body='{"spec": {}}'
    )
    assert status == 201
    token = json.loads(body)["status"]["token"]
    review = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    status, body = plane.get(plane.api, "ca", None, path, body=review, token=token)
    assert (status, json.loads(body)["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:one")


def test_the_front_proxys_authority_speaks_for_others(plane: Plane) -> None:
    """The aggregation layer's headers count with its certificate alone (kubernetes.io: authenticating proxy)."""
    by_proxy = issue(plane.folder, "proxy", SECRETS.front_proxy, "front-proxy-client")
    by_cluster = issue(plane.folder, "no-proxy", SECRETS.cluster, "front-proxy-client")
    review = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    for client, known_as in ((by_proxy, "someone-else"), (by_cluster, "front-proxy-client")):
        status, body = plane.get(plane.api, "ca", client, path, body=review, user="someone-else")
        assert (status, json.loads(body)["status"]["userInfo"]["username"]) == (201, known_as)
