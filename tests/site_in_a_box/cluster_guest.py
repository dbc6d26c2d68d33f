"""What a host of a cluster holds before it boots: network, containerd, kubelet's unit, pod network, galley.yaml.

The guest sees a bare cgroup2 without controllers, so nothing limits pods, and kubelet and containerd are told to make
no control groups. A NUC's image needs none of the settings that are marked as nspawn's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from images.containers.control_plane import PAUSE
from tests.site_in_a_box.lan import NETWORK, address

PACKAGES = (
    "conntrack", "containerd", "containernetworking-plugins", "e2fsprogs", "ethtool", "iptables", "kmod", "mount",
    "runc",
)  # fmt: skip
"""Besides those of every host."""

CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_cgroup = true
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""

KUBELET_UNIT = """\
[Unit]
Description=kubelet
After=containerd.service network.target
Wants=containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml
StartLimitIntervalSec=0

[Service]
# nspawn's: kubelet sets a few kernel settings, and gives up where it may not.
ExecStartPre=-/usr/bin/mount -o remount,rw /proc/sys
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/opt/kubernetes/current/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\
    --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""

IMPORTED = "/var/lib/containerd/galley-imported"
IMAGES_UNIT = f"""\
[Unit]
Description=Gives containerd the images that this system brings, where it has none
After=containerd.service
Requires=containerd.service
ConditionPathExists=!{IMPORTED}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for one in {{archives}}; do ctr -n k8s.io images import "$one"; done; sync; touch {IMPORTED}'
TimeoutStartSec=600

[Install]
WantedBy=multi-user.target
"""
"""A wiped host has them again by itself. `archives`: paths, with blanks between."""
IMAGES_FIRST = """\
[Unit]
After=galley-images.service
"""
"""Of what begins or joins a cluster: containers are started from those images alone."""

KUBELET: dict[str, Any] = {
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": ["none"],  # an empty list is dropped by kubeadm, and then "pods" is back
    "failCgroupV1": False,
    "failSwapOn": False,
    "makeIPTablesUtilChains": False,
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    "imageGCHighThresholdPercent": 100,
    "resolvConf": "",
}
IGNORED = (
    "SystemVerification", "ContainerRuntimeVersion", "NumCPU", "Mem",
    "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
)  # fmt: skip


def kubeadm_settings(version: str, snapshots: str = "") -> dict[str, Any]:
    """`edge_commander.distribution` for such hosts: no registry, no kube-proxy and DNS, no control groups.
    `snapshots`: where they are, if elsewhere than by default."""
    return {
        "kind": "kubeadm",
        "kubeadm": {
            "version": version,
            "image_pull": "Never",
            "skip_phases": ["addon/kube-proxy", "addon/coredns"],
            "ignore_preflight": list(IGNORED),
            "kubelet": KUBELET,
            **({"snapshots_dir": snapshots} if snapshots else {}),
        },
    }


def files(number: int, hosts: int, galley: Mapping[str, Any]) -> dict[str, str]:
    """Path to content, for the host with that number of so many; `galley`: its galley.yaml."""
    routes = "".join(
        f"\n[Route]\nDestination=10.244.{other}.0/24\nGateway={address(other)}\n"
        for other in range(1, hosts + 1)
        if other != number
    )
    network = f"[Match]\nName=host0\n\n[Network]\nAddress={address(number)}/24\nGateway={NETWORK}.1\n{routes}"
    ipam = {"type": "host-local", "ranges": [[{"subnet": f"10.244.{number}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {
        "/etc/systemd/network/10-host0.network": network,
        "/etc/sysctl.d/90-kubernetes.conf": "net.ipv4.ip_forward = 1\n",
        "/etc/containerd/config.toml": CONTAINERD,
        "/etc/systemd/system/kubelet.service": KUBELET_UNIT,
        "/etc/cni/net.d/10-bridge.conflist": json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]}),
        "/etc/galley/galley.yaml": json.dumps(galley),
    }


def own_images(archives: Sequence[str]) -> dict[str, str]:
    """More of such files: the host itself gives containerd these archives, on every blank `var`."""
    return {
        "/etc/systemd/system/galley-images.service": IMAGES_UNIT.format(archives=" ".join(archives)),
        "/etc/systemd/system/galley-distribution@.service.d/images.conf": IMAGES_FIRST,
    }


WANTS = "/etc/systemd/system/multi-user.target.wants"
IMAGES_LINK = {f"{WANTS}/galley-images.service": "/etc/systemd/system/galley-images.service"}
LINKS = {
    f"{WANTS}/kubelet.service": "/etc/systemd/system/kubelet.service",
    f"{WANTS}/systemd-networkd.service": "/usr/lib/systemd/system/systemd-networkd.service",
    "/usr/bin/kubelet": "/opt/kubernetes/current/kubelet",
    "/usr/bin/kubectl": "/opt/kubernetes/current/kubectl",
}
