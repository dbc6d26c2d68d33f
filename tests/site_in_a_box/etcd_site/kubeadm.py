"""In the place of the program `kubeadm`: does to etcd, files and Nodes what kubeadm 1.36 does, and nothing else.

`kubeadm.py init|join|reset --config FILE`. The order is kubeadm's (kubernetes.io: "Implementation details"):
certificates, kubeconfigs, the Node, etcd as a learner, its manifest, promotion, and last the control plane's label.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[3]))

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.core.errors import GalleyError, Retryable
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.existing import CONTROL_PLANE
from edge_commander.distribution.kubeadm import layout
from tests.site_in_a_box.etcd_site.api import NODES, EtcdKube, open_store

WAIT_SECONDS = 60.0
ETCD_RUNS = Path("/run/etcd-runs")
"""There while the played kubelet runs etcd."""
PKI = Path(layout.PKI)
ADMIN = Path(layout.ADMIN)


def main(arguments: list[str]) -> int:
    """Runs one command; 1 with the cause on stderr."""
    documents = {one["kind"]: one for one in yaml.safe_load_all(Path(arguments[-1]).read_text())}
    try:
        match arguments[0], arguments[1]:
            case "init", "phase":
                pass
            case "init", _:
                init(documents)
            case "join", _:
                join(documents["JoinConfiguration"])
            case "reset", _:
                reset()
    except GalleyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def init(documents: dict[str, Any]) -> None:
    """The first server, over the etcd data that are there."""
    local = documents["InitConfiguration"]
    name, address = local["nodeRegistration"]["name"], local["localAPIEndpoint"]["advertiseAddress"]
    _files(name, address)
    extra = {one["name"]: one["value"] for one in documents["ClusterConfiguration"]["etcd"]["local"]["extraArgs"]}
    _manifests(name, address, {name: _peer(address)}, extra)
    api = EtcdKube(ADMIN)
    _until(lambda: _make(api, "/api/v1/namespaces", {"kind": "Namespace", "metadata": _named("kube-system")}))
    _until(lambda: _make(api, NODES, {"kind": "Node", "metadata": _named(name), "renewed": time.time()}))
    _until(lambda: _mark(api, name))


def join(document: dict[str, Any]) -> None:
    """One more server, through the one that the discovery file names."""
    name = document["nodeRegistration"]["name"]
    address = document["controlPlane"]["localAPIEndpoint"]["advertiseAddress"]
    discovery = json.loads(Path(document["discovery"]["file"]["kubeConfigPath"]).read_bytes())
    seed = socket.gethostbyname(str(urlsplit(discovery["clusters"][0]["cluster"]["server"]).hostname))
    _files(name, address)
    kubeconfig = Path("/run/seed.conf")
    kubeconfig.write_text(_kubeconfig(seed))
    api, store = EtcdKube(kubeconfig), open_store(kubeconfig)
    _until(lambda: _make(api, NODES, {"kind": "Node", "metadata": _named(name), "renewed": time.time()}))

    def added() -> bool:
        if not any(_peer(address) in one["peerURLs"] for one in store.members()):
            store.ask("/v3/cluster/member/add", {"peerURLs": [_peer(address)], "isLearner": True})
        return True

    _until(added)
    found = _until(store.members)
    peers = {(one.get("name") or name): one["peerURLs"][0] for one in found}
    _manifests(name, address, peers, {"initial-cluster-state": "existing"})
    own = next(one for one in found if _peer(address) in one["peerURLs"])

    def promoted() -> bool:
        if any(one["ID"] == own["ID"] and one.get("isLearner") for one in store.members()):
            store.ask("/v3/cluster/member/promote", {"ID": own["ID"]})
        return True

    _until(promoted)
    _until(lambda: _mark(EtcdKube(ADMIN), name))


def reset() -> None:
    """Stops etcd; files are the caller's to remove."""
    for component in ("etcd", "kube-apiserver"):
        Path(layout.manifest(component)).unlink(missing_ok=True)
    _until(lambda: not ETCD_RUNS.exists())


def _until(ask: Any) -> Any:
    """Asks until it is true; the last cause when that takes too long."""
    deadline, cause = time.monotonic() + WAIT_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
        except (Retryable, KubeRejected) as error:
            cause = str(error)
        time.sleep(0.2)
    raise Retryable(f"not within {WAIT_SECONDS:.0f} s: {cause}")


def _make(api: EtcdKube, path: str, body: dict[str, Any]) -> bool:
    try:
        api.ask("POST", path, body)
    except KubeRejected as error:
        if error.status != 409:
            raise
    return True


def _mark(api: EtcdKube, name: str) -> bool:
    node = api.ask("GET", f"{NODES}/{name}")
    node["metadata"]["labels"] = {CONTROL_PLANE: ""}
    api.ask("PUT", f"{NODES}/{name}", node)
    return True


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "uid": str(uuid.uuid4())}


def _peer(address: str) -> str:
    return f"https://{address}:{layout.PEER_PORT}"


def _kubeconfig(address: str) -> str:
    return json.dumps({"clusters": [{"cluster": {"server": f"https://{address}:{layout.API_PORT}"}}]})


def _files(name: str, address: str) -> None:
    for file in ("etcd/server", "etcd/peer", "apiserver-etcd-client"):
        _issue(PKI / file, name, address)
    ADMIN.write_text(_kubeconfig(address))
    Path(layout.KUBERNETES, "kubelet.conf").write_text(json.dumps({"node": name}))


def _issue(file: Path, name: str, address: str) -> None:
    """A certificate of the site's etcd authority, for both ends of a connection, as kubeadm's are."""
    authority = x509.load_pem_x509_certificate((PKI / "etcd/ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((PKI / "etcd/ca.key").read_bytes(), None)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address(one)) for one in (address, "127.0.0.1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *addresses]), critical=False)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.with_suffix(".key").write_bytes(secret)
    file.with_suffix(".crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _manifests(name: str, address: str, peers: dict[str, str], extra: dict[str, str]) -> None:
    """What the kubelet is to run; etcd's arguments are those of kubeadm's own manifest."""
    flags = {
        "name": name,
        "data-dir": layout.ETCD_DATA,
        "initial-cluster": ",".join(f"{one}={url}" for one, url in peers.items()),
        "initial-advertise-peer-urls": _peer(address),
        "advertise-client-urls": f"https://{address}:{layout.ETCD_PORT}",
        "listen-client-urls": f"https://127.0.0.1:{layout.ETCD_PORT},https://{address}:{layout.ETCD_PORT}",
        "listen-peer-urls": _peer(address),
        "client-cert-auth": "true",
        "trusted-ca-file": f"{PKI}/etcd/ca.crt",
        "cert-file": f"{PKI}/etcd/server.crt",
        "key-file": f"{PKI}/etcd/server.key",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{PKI}/etcd/ca.crt",
        "peer-cert-file": f"{PKI}/etcd/peer.crt",
        "peer-key-file": f"{PKI}/etcd/peer.key",
        "snapshot-count": "10000",
        "log-level": "warn",
        **extra,
    }
    command = ["etcd", *(f"--{flag}={value}" for flag, value in flags.items())]
    for component, text in (("kube-apiserver", "{}"), ("etcd", json.dumps({"command": command}))):
        path = Path(layout.manifest(component))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(text)
        temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
