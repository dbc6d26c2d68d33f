"""A real kubelet and containerd on this machine, as one node of a site, with images made here.

Both run in a mount and a PID namespace of their own: the node's /etc/galley, /run/galley and /var/lib/galley are
folders of ours, nothing is written to this machine's /etc, /run and /var, and when the namespace's first process
ends, the kernel ends every shim and container with it. Cgroups lie under one of our own in each hierarchy, removed
at the end. No pod network: pods with hostNetwork run, the node stays NotReady for others. Needs root; Debian
packages containerd and runc.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.site_in_a_box.kernel_settings import KernelSettings
from tests.site_in_a_box.kube_control_plane import ControlPlane
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.process import Program, StartError

GALLEY_DIRS = {"etc": "/etc/galley", "run": "/run/galley", "state": "/var/lib/galley"}
CGROUPS = Path("/sys/fs/cgroup")

START = """
set -e
mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/etc-upper,workdir={folder}/etc-work /etc
for hidden in /run /var/lib /var/log; do mount -t tmpfs tmpfs $hidden; done
{binds}
cd /
containerd --config {folder}/containerd.toml >> {folder}/containerd.log 2>&1 &
until ctr --address {folder}/containerd.sock version > /dev/null 2>&1; do sleep 0.1; done
ctr --address {folder}/containerd.sock --namespace k8s.io images import {images} >> {folder}/import.log 2>&1
exec {kubelet} --config={folder}/kubelet.yaml --kubeconfig={kubeconfig} --hostname-override={name} \
    --root-dir={folder}/kubelet --cert-dir={folder}/pki --v=1
"""

CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{folder}/cni"
    bin_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


class RealNode:
    """One node `name` of the cluster `plane`. `folder`: short enough for unix sockets (under 80 characters)."""

    def __init__(
        self, name: str, plane: ControlPlane, *, kubelet: Path, images: Path, pause: str, folder: Path
    ) -> None:
        self.name = name
        self.folder = folder
        self.plane = plane
        self.kernel = KernelSettings()
        self.cgroup = f"galley-{uuid.uuid4().hex[:10]}"
        for part in (*GALLEY_DIRS, "etc-upper", "etc-work", "cni", "kubelet", "pki", "opt"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for part in GALLEY_DIRS:
            (folder / part).chmod(0o755)
        kubeconfig = plane.kubeconfig_for(f"system:node:{name}", ["system:nodes"])
        (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder, pause=pause))
        (folder / "kubelet.yaml").write_text(json.dumps(self._kubelet_config()))
        binds = "\n".join(
            f"mkdir -p {place}\nmount --bind {folder / part} {place}" for part, place in GALLEY_DIRS.items()
        )
        script = START.format(
            binds=binds, folder=folder, images=images, kubelet=kubelet, kubeconfig=kubeconfig, name=name
        )
        unshare = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.program = Program(f"node {name}", [*unshare, "bash", "-c", script], log=folder / "kubelet.log")

    def _kubelet_config(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "127.0.0.1",
            "port": free_port(),
            "healthzPort": free_port(),
            "readOnlyPort": 0,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                               "x509": {"clientCAFile": str(self.plane.authority.ca_file)}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self.folder}/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "resolvConf": "",
            "podLogsDir": f"{self.folder}/pod-logs",
        }  # fmt: skip

    def up(self) -> Self:
        """Starts containerd, imports the images, starts kubelet; returns when the Node object is there."""
        for tool in ("containerd", "runc", "ctr"):
            if shutil.which(tool) is None:
                raise StartError(f"{tool} is not installed (Debian packages: containerd, runc)")
        for hierarchy in hierarchies():
            self._make_cgroup(hierarchy / self.cgroup)
        self.program.start()
        try:
            self.program.wait_ready(self._registered, seconds=90, what="registered")
        except BaseException:
            self.down()
            raise
        return self

    def _make_cgroup(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset is empty, and then takes no process
            if (place / setting).exists() and not (place / setting).read_text().strip():
                with contextlib.suppress(OSError):
                    (place / setting).write_text((place.parent / setting).read_text())

    def _registered(self) -> bool:
        return self.plane.get_status(f"/api/v1/nodes/{self.name}") == 200

    def down(self) -> None:
        """Ends all of it, mounts and cgroups too, and undoes what kubelet set in the kernel."""
        self.program.stop()
        self.kernel.restore()
        deadline = time.monotonic() + 15
        while (left := [place for place in self._cgroups() if not _remove(place)]) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            raise StartError(f"cgroups are left: {left}")

    def _cgroups(self) -> list[Path]:
        return [place for hierarchy in hierarchies() if (place := hierarchy / self.cgroup).exists()]

    def logs(self) -> str:
        """What went wrong, for people."""
        done = subprocess.run(
            ["tail", "-n", "15", *self.folder.glob("*.log")], capture_output=True, text=True, check=False
        )
        return done.stdout + "".join(
            f"\n{file}:\n{file.read_text(errors='replace')[-3000:]}" for file in self.folder.glob("pod-logs/*/*/*.log")
        )

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


def hierarchies() -> Iterator[Path]:
    """Each cgroup hierarchy that kubelet or runc uses: those of v1, or the one of cgroup2."""
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS
        return
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and place.startswith(str(CGROUPS)):
            yield Path(place)


def _remove(place: Path) -> bool:
    for folder, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not place.exists()
