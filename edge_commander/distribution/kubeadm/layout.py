"""Where kubeadm keeps what it makes on a node (kubernetes.io: "Implementation details" of kubeadm). Pure."""

from __future__ import annotations

KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"
MANIFESTS = f"{KUBERNETES}/manifests"
ADMIN = f"{KUBERNETES}/admin.conf"
ETCD_DATA = "/var/lib/etcd"
KUBELET_DATA = "/var/lib/kubelet"
ACCEPTED = f"{PKI}/sa.pub"
"""The keys by which this node's API server accepts service accounts' tokens."""
HOSTS = "/etc/hosts"
PORTS = {"etcd": 2379, "kube-apiserver": 6443, "kube-controller-manager": 10257, "kube-scheduler": 10259}
"""Where each part of the control plane serves, on 127.0.0.1 or all addresses."""
COMPONENTS = tuple(PORTS)
EMBEDDED = ("kube-controller-manager", "kube-scheduler")
"""Those whose kubeconfig holds the certificate itself, and is read once."""
TRACES = (f"{KUBERNETES}/kubelet.conf", ADMIN, f"{MANIFESTS}/etcd.yaml", f"{MANIFESTS}/kube-apiserver.yaml",
          f"{ETCD_DATA}/member")  # fmt: skip
"""Any of these says that there is, or was half made, a cluster on this node."""
UPGRADES = f"{KUBERNETES}/tmp"  # noqa: S108 - kubeadm's own folder, not the machine's
LEFT_BY_RESET = (PKI, MANIFESTS, ETCD_DATA, f"{KUBELET_DATA}/config.yaml", f"{KUBELET_DATA}/pki",
                 f"{KUBERNETES}/super-admin.conf", UPGRADES, *TRACES)  # fmt: skip
"""kubeadm leaves certificates where they were placed, and what it saved in upgrades."""
ETCD_DATABASE = f"{ETCD_DATA}/member/snap/db"
KUBELET_UNIT = "kubelet.service"
KUBELET_DROP_IN = f"/etc/systemd/system/{KUBELET_UNIT}.d/50-galley-stopped.conf"
"""Keeps the kubelet from starting while the mark of a stop lies in the state folder: that goes with a wipe."""
STOPPED = "stopped"
JOIN_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/galley-join"
API_PORT = 6443
ETCD_PORT = 2379
PEER_PORT = 2380


def manifest(component: str) -> str:
    """The static pod's file."""
    return f"{MANIFESTS}/{component}.yaml"


def put_away(component: str) -> str:
    """The manifest of a pod that was stopped with its cluster."""
    return f"{MANIFESTS}/.{component}.yaml.stopped"


def held_back(component: str) -> str:
    """The manifest of a pod that is being restarted: the kubelet reads no file whose name begins with a dot."""
    return f"{MANIFESTS}/.{component}.yaml.galley"
