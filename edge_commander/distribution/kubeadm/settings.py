"""`edge_commander.distribution.kubeadm` of galley.yaml. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from agents.core.settings import Positive

Version = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^1\.[0-9]{1,3}\.[0-9]{1,3}\Z", description="must be a release of Kubernetes, such as 1.36.2"
    ),
]
Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\s]+\Z", description="must be an absolute path without spaces")]
Network = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f.:]+/[0-9]{1,3}\Z", description="must be a network such as 10.244.0.0/16")
]
HostName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z",
        description="must be a host name in lower case",
    ),
]


class KubeadmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`kubeadm:`. Every interval in s.

    `version`: of a new cluster. `programs`: holds `<version>/{kubeadm,kubelet,etcd,etcdctl,etcdutl}`, and a link
    `current` to the version in use, which kubelet.service starts from. `state_dir`: what this node knows of its
    cluster; goes with a wipe. `run_dir`: short-lived credentials, in memory. `snapshots_dir`: on a partition that a
    wipe keeps; `snapshots_keep`: how many of those that are taken by themselves stay.
    `endpoint_name`: the control plane's name in certificates and kubeconfigs; each node's hosts file makes it its own
    address. `skip_phases`, `ignore_preflight`: as kubeadm names them. `kubelet`: more fields of the node's
    KubeletConfiguration. `api_seconds`: how long kubeadm waits for an API server, or for etcd, at each step.
    """

    version: Version = "1.36.2"
    programs: Folder = "/opt/kubernetes"
    state_dir: Folder = "/var/lib/galley-kubernetes"
    run_dir: Folder = "/run/galley-kubernetes"
    snapshots_dir: Folder = "/var/lib/galley-snapshots"
    snapshots_keep: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    endpoint_name: HostName = "api.galley.internal"
    runtime: Annotated[str, msgspec.Meta(pattern=r"^unix:///.+\Z")] = "unix:///run/containerd/containerd.sock"
    pod_network: Network = "10.244.0.0/16"
    service_network: Network = "10.96.0.0/12"
    image_pull: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    skip_phases: list[str] = []
    ignore_preflight: list[str] = []
    kubelet: dict[str, Any] = {}
    api_seconds: Positive = 180.0
    init_seconds: Positive = 600.0
    join_seconds: Positive = 600.0
    upgrade_seconds: Positive = 900.0
