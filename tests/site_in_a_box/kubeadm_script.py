"""What a person would do by hand on three hosts: place the authorities, `kubeadm init`, two joins, wait. The yardstick.

The same kubeadm, images and settings as the suite's, and nothing of the suite but the authorities that it made before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_commander.secrets.authority import public_half
from tests.site_in_a_box.cluster_guest import IGNORED, KUBELET
from tests.site_in_a_box.cluster_host import ClusterHost, ClusterHosts, each

ENDPOINT = "cluster"
"""The name of the API in everybody's /etc/hosts: the first server, also later."""
API = "kubeadm.k8s.io/v1beta4"
PKI = "/etc/kubernetes/pki"
SKIPPED = ["addon/kube-proxy", "addon/coredns"]
SECONDS = 400


def form(hosts: ClusterHosts) -> dict[str, float]:
    """Forms the cluster; each part's time in s."""
    first, *others = hosts
    parts: dict[str, float] = {}

    def timed(part: str, do: Callable[[], object]) -> None:
        began = time.monotonic()
        do()
        parts[part] = time.monotonic() - began

    timed("place", lambda: each(list(hosts), lambda host: _place(hosts, host)))
    timed("init", lambda: _kubeadm(first, "init", _init(first)))
    admin = _file(first, "/etc/kubernetes/admin.conf").read_text()
    for number, host in enumerate(others, 2):
        _file(host, "/srv/discovery.conf").write_text(admin)
        timed(f"join {number}", lambda host=host: _kubeadm(host, "join", _join(host)))  # type: ignore[misc]
    timed("ready", lambda: _wait_ready(first, hosts.count))
    return parts


def _place(hosts: ClusterHosts, host: ClusterHost) -> None:
    secrets = hosts.secrets
    for name, one in (("ca", secrets.cluster), ("etcd/ca", secrets.etcd), ("front-proxy-ca", secrets.front_proxy)):
        _file(host, f"{PKI}/{name}.crt").write_text(one.cert)
        _file(host, f"{PKI}/{name}.key").write_text(one.key)
    _file(host, f"{PKI}/sa.key").write_text(secrets.service_account_key)
    _file(host, f"{PKI}/sa.pub").write_text(public_half(secrets.service_account_key))
    names = f"127.0.0.1 localhost\n{host.address} {host.name}\n{hosts[0].address} {ENDPOINT}\n"
    _file(host, "/etc/hosts").write_text(names)
    host.run("ln", "-sfn", host.kube.version, "/opt/kubernetes/current")


def _file(host: ClusterHost, inside: str) -> Path:
    """A file of the running guest."""
    path = Path(f"/proc/{host.pid1}/root") / inside.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _kubeadm(host: ClusterHost, what: str, documents: list[dict[str, Any]]) -> None:
    file = f"/srv/{what}.yaml"
    _file(host, file).write_text("\n---\n".join(json.dumps(one) for one in documents))
    host.run("/opt/kubernetes/current/kubeadm", what, "--config", file, seconds=SECONDS)


def _init(host: ClusterHost) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": API, "kind": "InitConfiguration", "localAPIEndpoint": {"advertiseAddress": host.address},
            "nodeRegistration": _node(host), "skipPhases": SKIPPED, "timeouts": _timeouts(),
        },
        {
            "apiVersion": API, "kind": "ClusterConfiguration", "kubernetesVersion": f"v{host.kube.version}",
            "controlPlaneEndpoint": f"{ENDPOINT}:6443", "encryptionAlgorithm": "ECDSA-P256",
        },
        {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **KUBELET},
    ]  # fmt: skip


def _join(host: ClusterHost) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": API, "kind": "JoinConfiguration",
            "controlPlane": {"localAPIEndpoint": {"advertiseAddress": host.address}},
            "discovery": {"file": {"kubeConfigPath": "/srv/discovery.conf"}},
            "nodeRegistration": _node(host), "timeouts": _timeouts(),
        }
    ]  # fmt: skip


def _node(host: ClusterHost) -> dict[str, Any]:
    return {
        "name": host.name, "imagePullPolicy": "Never", "taints": [], "ignorePreflightErrors": list(IGNORED),
        "criSocket": "unix:///run/containerd/containerd.sock",
    }  # fmt: skip


def _timeouts() -> dict[str, str]:
    return {"controlPlaneComponentHealthCheck": "5m0s", "kubernetesAPICall": "3m0s", "tlsBootstrap": "5m0s"}


def _wait_ready(host: ClusterHost, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    ask = ("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}")
    while host.kubectl(*ask, check=False).split().count("True") < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the nodes of the plain script do not become Ready")
        time.sleep(0.2)
