"""A real etcd on the very files that are laid out for k3s: it takes the authorities and keys, answers its members to
our adapter, and what it calls a snapshot is one. And a real systemd reads the gate as it is meant."""

from __future__ import annotations

import base64
import datetime
import functools
import ipaddress
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import layout, reference, snapshots
from edge_commander.distribution.k3s.api import Etcd
from edge_commander.distribution.k3s.files import GATE_TEXT, MAY_FORM
from edge_commander.secrets.model import Authority, SiteSecrets
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@functools.cache
def authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(cert=made.public_bytes(serialization.Encoding.PEM).decode(), key=_pem(key))


def _usage() -> x509.KeyUsage:
    names = ("digital_signature", "key_cert_sign", "crl_sign")
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    return x509.KeyUsage(**dict.fromkeys(names, True), **dict.fromkeys((*others, "decipher_only"), False))


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def secrets(site: str = "store-01234", epoch: int = 1) -> SiteSecrets:
    return SiteSecrets(
        site=site,
        epoch=epoch,
        cluster=authority("cluster"),
        etcd=authority("etcd"),
        front_proxy=authority("front-proxy"),
        service_account_key=authority("accounts").key,
        token="5f" * 32,
    )


class Node:
    """The tree that k3s would find, the leaf that k3s would make of it, and etcd as k3s starts it."""

    def __init__(self, root: Path, binary: Path) -> None:
        self.root = root
        self.gateway = f"https://127.0.0.1:{free_port()}"
        for file in layout.files(secrets()):
            place = self.place(file.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
        self.leaf()
        cert, key, ca = (
            str(self.place(reference.path(f"etcd-{name}"))) for name in ("client-cert", "client-key", "server-ca-cert")
        )
        client, peer = (f"https://127.0.0.1:{free_port()}" for _ in range(2))
        self.program = Program(
            "etcd",
            [
                *(str(binary), "--name=nuc-1-0123abcd", f"--data-dir={root / 'db'}", "--unsafe-no-fsync"),
                *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
                f"--listen-client-http-urls={self.gateway}",
                *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
                f"--initial-cluster=nuc-1-0123abcd={peer}",
                *(f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth"),
                *(f"--peer-cert-file={cert}", f"--peer-key-file={key}", f"--peer-trusted-ca-file={ca}"),
                *("--peer-client-cert-auth", "--log-level=warn", "--strict-reconfig-check=false"),
            ],
            log=root / "etcd.log",
        )

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def leaf(self) -> None:
        """As deps.go makes it: out of the authority's files as they lie there."""
        ca = x509.load_pem_x509_certificate(self.place(reference.path("etcd-server-ca-cert")).read_bytes())
        ca_key = serialization.load_pem_private_key(self.place(reference.path("etcd-server-ca-key")).read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd-client")]))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(START)
            .not_valid_after(START + datetime.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.ExtendedKeyUsage(uses), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
            .sign(ca_key, hashes.SHA256())
        )
        self.place(reference.path("etcd-client-cert")).write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.place(reference.path("etcd-client-key")).write_text(_pem(key))

    def post(self, path: str, body: dict[str, object]) -> bytes:
        context = ssl.create_default_context(cafile=str(self.place(reference.path("etcd-server-ca-cert"))))
        context.load_cert_chain(
            self.place(reference.path("etcd-client-cert")), self.place(reference.path("etcd-client-key"))
        )
        request = urllib.request.Request(self.gateway + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            data: bytes = answer.read()
            return data

    def serves(self) -> bool:
        try:
            return bool(self.post("/v3/cluster/member/list", {}))
        except OSError:
            return False


@pytest.fixture
def node(tmp_path: Path, kube_binaries: Path) -> Iterator[Node]:
    made = Node(tmp_path, kube_binaries / "etcd")
    made.program.start()
    try:
        made.program.wait_ready(made.serves, seconds=60)
        yield made
    finally:
        made.program.kill()


async def test_etcd_takes_our_authorities_and_answers_its_members(node: Node) -> None:
    etcd = Etcd(node.place, node.gateway)
    (member,) = await etcd.members()
    assert member.name == "nuc-1-0123abcd" and member.id.isdecimal() and not member.learner
    node.post("/v3/cluster/member/add", {"peerURLs": ["https://127.0.0.1:1"], "isLearner": True})
    learner = next(one for one in await etcd.members() if one.learner)
    assert learner.name == ""
    await etcd.remove(learner.id)
    assert await etcd.members() == [member]


async def test_what_etcd_refuses_and_an_etcd_that_is_gone_are_retryable(node: Node) -> None:
    etcd = Etcd(node.place, node.gateway)
    with pytest.raises(Retryable, match="etcd: /v3/cluster/member/remove: HTTP 404"):
        await etcd.remove("12345")
    node.program.kill()
    with pytest.raises(Retryable, match="etcd: /v3/cluster/member/list: "):
        await etcd.members()


async def test_another_sites_authority_is_not_let_in(node: Node) -> None:
    node.place(reference.path("etcd-server-ca-cert")).write_text(authority("other").cert)
    with pytest.raises(Retryable, match="etcd: /v3/cluster/member/list: ClientConnectorCertificateError"):
        await Etcd(node.place, node.gateway).members()


def test_a_real_snapshot_is_whole_and_without_its_end_it_is_not(node: Node, tmp_path: Path) -> None:
    parts = [json.loads(line)["result"] for line in node.post("/v3/maintenance/snapshot", {}).splitlines()]
    content = b"".join(base64.b64decode(part.get("blob", "")) for part in parts)
    file = tmp_path / "snapshot"
    file.write_bytes(content)
    assert len(snapshots.whole(file)) == 64
    file.write_bytes(content[:-512])
    with pytest.raises(Rejected, match="damaged"):
        snapshots.whole(file)


@pytest.mark.parametrize(
    ("wal", "forming", "starts"), [(False, False, False), (True, False, True), (False, True, True), (True, True, True)]
)
def test_systemd_reads_the_gate_as_it_is_meant(wal: bool, forming: bool, starts: bool, tmp_path: Path) -> None:
    """The asserts of the drop-in, with its paths moved below a folder."""
    if wal:
        (tmp_path / "wal").mkdir()
    if forming:
        (tmp_path / "forming").touch()
    text = GATE_TEXT.replace(reference.path("wal"), str(tmp_path / "wal")).replace(MAY_FORM, str(tmp_path / "forming"))
    asserts = [line for line in text.splitlines() if line.startswith("Assert")]
    assert len(asserts) == 2 and all(str(tmp_path) in line for line in asserts)
    done = subprocess.run(["systemd-analyze", "condition", *asserts], capture_output=True, timeout=30, check=False)
    assert (done.returncode == 0) is starts, done.stderr
