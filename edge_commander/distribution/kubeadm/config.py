"""The documents that kubeadm reads, out of plan and settings: kubeadm.k8s.io/v1beta4. Pure.

JSON is YAML, so they are written as JSON. Durations are text as Go writes them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from edge_commander.distribution.kubeadm.layout import ADMIN, API_PORT, ETCD_DATA, PKI
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.port import ClusterPlan

KUBEADM = "kubeadm.k8s.io/v1beta4"
PATCH = "kubeletconfiguration+merge.json"
"""The name by which kubeadm finds a merge patch of the kubelet's configuration in its patch folder."""
JOINERS = "system:bootstrappers:kubeadm:default-node-token"
"""The group that kubeadm lets read its configuration and ask for a kubelet's certificate."""
ETCD_EXISTS = {"name": "initial-cluster-state", "value": "existing"}
QUICK_END = {"name": "shutdown-send-retry-after", "value": "true"}
"""An API server that is told to end answers what is in flight, then waits 2 s for its watchers to leave; else it waits
a minute for them, and is killed after 30 s (k8s.io/apiserver: GenericAPIServer.RunWithContext)."""
NO_DNS = ("CoreDNSUnsupportedPlugins", "CoreDNSMigration")
Document = dict[str, Any]


def patches_dir(settings: KubeadmSettings) -> str:
    """The folder of patches, which init, join and upgrade read."""
    return f"{settings.state_dir}/patches"


def discovery_file(settings: KubeadmSettings) -> str:
    """The kubeconfig with which a node joins: the site's CA, and a certificate that ends soon."""
    return f"{settings.run_dir}/discovery.conf"


def init_documents(plan: ClusterPlan, settings: KubeadmSettings) -> bytes:
    """InitConfiguration, ClusterConfiguration and KubeletConfiguration, for the first server.

    etcd is never started but on data that were made before: one whose data are gone asks its peers, and where it has
    none it does not start, instead of silently being a second cluster.

    The bootstrap token that kubeadm insists on making ends at once and is told nobody: nodes join by the site's CA.
    """
    init = {
        "apiVersion": KUBEADM,
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"ttl": "1m0s", "usages": ["authentication"]}],
        "localAPIEndpoint": _endpoint(plan),
        "nodeRegistration": _registration(plan, settings, ["DirAvailable--var-lib-etcd"]),
        "patches": {"directory": patches_dir(settings)},
        "skipPhases": ["show-join-command", *settings.skip_phases],
        "timeouts": _timeouts(settings),
    }
    cluster = {
        "apiVersion": KUBEADM,
        "kind": "ClusterConfiguration",
        "clusterName": plan.site,
        "kubernetesVersion": f"v{settings.version}",
        "controlPlaneEndpoint": f"{settings.endpoint_name}:{API_PORT}",
        "certificatesDir": PKI,
        "encryptionAlgorithm": "ECDSA-P256",
        "apiServer": {"extraArgs": [QUICK_END]},
        "etcd": {
            "local": {"dataDir": ETCD_DATA, "extraArgs": [{"name": "initial-cluster-state", "value": "existing"}]}
        },
        "networking": {"podSubnet": settings.pod_network, "serviceSubnet": settings.service_network},
    }
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    return _documents(init, cluster, kubelet)


def join_documents(plan: ClusterPlan, settings: KubeadmSettings) -> bytes:
    """JoinConfiguration of one more server. No token and no certificate key: the CAs are in place already."""
    return _documents(
        {
            "apiVersion": KUBEADM,
            "kind": "JoinConfiguration",
            "controlPlane": {"localAPIEndpoint": _endpoint(plan)},
            "discovery": {"file": {"kubeConfigPath": discovery_file(settings)}},
            "nodeRegistration": _registration(plan, settings),
            "patches": {"directory": patches_dir(settings)},
            "skipPhases": [one for one in settings.skip_phases if not one.startswith("addon")],
            "timeouts": _timeouts(settings),
        }
    )


def worker_documents(plan: ClusterPlan, settings: KubeadmSettings) -> bytes:
    """JoinConfiguration of a worker: it asks for its kubelet's certificate with the one in the discovery file."""
    return _documents(
        {
            "apiVersion": KUBEADM,
            "kind": "JoinConfiguration",
            "discovery": {"file": {"kubeConfigPath": discovery_file(settings)}},
            "nodeRegistration": _registration(plan, settings),
            "patches": {"directory": patches_dir(settings)},
            "skipPhases": [one for one in settings.skip_phases if not one.startswith("addon")],
            "timeouts": _timeouts(settings),
        }
    )


def named(text: str, name: str) -> str:
    """The first address that a hosts file has for a name; empty where it has none."""
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return next((words[0] for words in lines if name in words[1:]), "")


def reset_documents(settings: KubeadmSettings) -> bytes:
    """ResetConfiguration. The etcd member is taken out by us, who know whether the others can do without."""
    return _documents(
        {
            "apiVersion": KUBEADM,
            "kind": "ResetConfiguration",
            "certificatesDir": PKI,
            "criSocket": settings.runtime,
            "force": True,
            "skipPhases": ["remove-etcd-member"],
            "timeouts": _timeouts(settings),
        }
    )


def upgrade_documents(settings: KubeadmSettings, *, etcd: bool) -> bytes:
    """UpgradeConfiguration, for `upgrade apply` and `upgrade node` alike. `etcd`: its version changes too; kubeadm
    would restart it in any case, and the node's API server is then away for most of a minute. CoreDNS is not looked at
    where it is not kubeadm's. The health check's Job may fail: no pod need be schedulable for an upgrade."""
    without_dns = NO_DNS if {"addon", "addon/coredns"} & set(settings.skip_phases) else ()
    common = {
        "certificateRenewal": True,
        "etcdUpgrade": etcd,
        "ignorePreflightErrors": ["CreateJob", *without_dns, *settings.ignore_preflight],
        "imagePullPolicy": settings.image_pull,
        "patches": {"directory": patches_dir(settings)},
        "skipPhases": [one for one in settings.skip_phases if one.startswith("addon")],
    }
    return _documents(
        {
            "apiVersion": KUBEADM,
            "kind": "UpgradeConfiguration",
            "apply": {**common, "forceUpgrade": True},
            "node": common,
            "timeouts": _timeouts(settings),
        }
    )


def kubelet_patch(settings: KubeadmSettings) -> bytes:
    """What this node's kubelet has besides the cluster's common configuration."""
    return msgspec.json.encode(settings.kubelet, order="sorted") + b"\n"


def kubeconfig(server: str, user: str, *, ca: str, cert: str, key: str) -> bytes:
    """A kubeconfig with everything inside. `server`: URL; `ca`, `cert`, `key`: PEM."""
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "site", "cluster": {"server": server, "certificate-authority-data": _base64(ca)}}],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _base64(cert), "client-key-data": _base64(key)},
                }
            ],
            "contexts": [{"name": "site", "context": {"cluster": "site", "user": user}}],
            "current-context": "site",
        }
    )


def hosts(text: str, name: str, address: str) -> str:
    """A hosts file in which `name` is `address` and nothing else; without the name where `address` is empty."""
    kept = [line for line in text.splitlines() if name not in line.split("#")[0].split()[1:]]
    if address:
        kept.append(f"{address} {name}")
    return "\n".join(kept) + "\n"


def renew_command() -> tuple[str, ...]:
    """Arguments of kubeadm that renew every certificate but the authorities'."""
    return ("certs", "renew", "all", "--kubeconfig", ADMIN)


def _endpoint(plan: ClusterPlan) -> Document:
    return {"advertiseAddress": plan.address, "bindPort": API_PORT}


def _registration(plan: ClusterPlan, settings: KubeadmSettings, ignore: Sequence[str] = ()) -> Document:
    return {
        "name": plan.node,
        "criSocket": settings.runtime,
        "imagePullPolicy": settings.image_pull,
        "ignorePreflightErrors": [*settings.ignore_preflight, *ignore],
        "kubeletExtraArgs": [{"name": "node-ip", "value": plan.address}],
        "taints": [],
    }


def _timeouts(settings: KubeadmSettings) -> Document:
    seconds = f"{int(settings.api_seconds)}s"
    return {"kubernetesAPICall": seconds, "controlPlaneComponentHealthCheck": "4m0s", "etcdAPICall": seconds,
            "discovery": "1m0s", "tlsBootstrap": seconds, "kubeletHealthCheck": "4m0s"}  # fmt: skip


def _documents(*documents: Document) -> bytes:
    return b"---\n".join(msgspec.json.encode(one) + b"\n" for one in documents)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
