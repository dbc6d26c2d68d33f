"""A site of three with the NUC image, upstream Kubernetes in it: boxes in systemd-nspawn, the third may be one in QEMU.

All hang on one bridge and are set up by their esp alone; nothing is formed by the harness. What the restaurant brings
(the pod network, routes between the boxes' pods) is laid by the test, as an Atlas or a person would. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml

from agents.contracts.ids import node_id
from agents.contracts.trust import MemberRole
from images.nuc import build, chroot, cluster
from images.nuc.build import Built
from tests.site_in_a_box import cluster_guest, cluster_host
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.host_suite import USERS, free_name
from tests.site_in_a_box.image_host import ImageHost
from tests.site_in_a_box.image_shop import SCENARIO, ImageShop
from tests.site_in_a_box.kernel_settings import KernelSettings
from tests.site_in_a_box.lan import address
from tests.site_in_a_box.nuc import Nuc, stick
from tests.site_in_a_box.operators_desk import OperatorsDesk
from tests.site_in_a_box.process import StartError

SITE = "store-00041"
NUMBERS = (1, 2, 3)
MACHINE = 3
MEMORY = 2048
DISK_GIB = 8
ATLAS = "/run/atlas.git"
SLOW = {"api_seconds": 900.0, "init_seconds": 1800.0, "join_seconds": 1800.0}
"""An emulated machine takes its time."""
EMULATED = {"evictionHard": {"memory.available": "50Mi"}, "imageGCHighThresholdPercent": 100}
KUBELET_IN_NSPAWN = "[Service]\nExecStartPre=-/usr/bin/mount -o remount,rw /proc/sys\n"
PLUGINS, PLUGIN = "/opt/cni/bin", "restaurant"
BRING_PLUGIN = ("install", "/usr/lib/cni/bridge", f"{PLUGINS}/{PLUGIN}")
"""As the DaemonSet of a pod network does with its own program."""
METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:2381/metrics", timeout=20).read().decode())
"""


def kube_image() -> Built:
    """The image with what `KUBE=` names and its container images, built where it is missing."""
    kube = cluster_host.programs()
    return build.ensure(cluster.programs(kube.folders[kube.version], None, (kube.archives[kube.version],)))


class ImageSite(ImageShop):
    """`emulated`: what the third one is in the cluster, where it is the machine in QEMU."""

    atlas = None

    def __init__(self, built: Built, folder: Path, emulated: MemberRole | None = None) -> None:
        super().__init__(built, folder, [SITE])
        self.emulated = emulated
        self.desk = OperatorsDesk(folder / "desk", self.endpoint)
        (folder / "git").mkdir()
        self.repository = GitRepo(folder / "git", SITE)
        self.served = folder / "served.git"
        self.served.mkdir()
        self.hosts: list[ImageHost] = []
        self._kernel = KernelSettings()
        self.kube = cluster_host.programs()

    def __enter__(self) -> Self:
        super().__enter__()
        self._undo.callback(self._kernel.restore)
        self.desk.open()
        self.hosts = [self.host(number) for number in NUMBERS if not (self.emulated and number == MACHINE)]
        if self.emulated:
            self.machine = self._machine()
            self._undo.callback(self.machine.cut_power)
        return self

    @property
    def names(self) -> list[str]:
        """Of the three, in the cluster."""
        return [serial(number).lower() for number in NUMBERS]

    def ship(self, device: str, site: str, number: int) -> str:
        """Puts a device on the shipping list, by an operator's signature; its one-time code."""
        role = self.emulated if self.emulated and number == MACHINE else MemberRole.SERVER
        return self.desk.ship(device, site, device.lower(), address(number), role.value)

    def host(self, number: int, *, code: str = "") -> ImageHost:
        """A box in nspawn, without power; shipped, unless somebody's `code` is given."""
        folder = self.folder / f"box{number}"
        one = ImageHost(
            free_name(f"box{number}"), folder, self.root, serial=serial(number), enter=self.lan.enter,
            options=[*cluster_host.OPTIONS, f"--bind-ro={self.served}:{ATLAS}"],
            environ={"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )  # fmt: skip
        one.put(*self._esp(number, code or self.ship(serial(number), SITE, number), cluster_guest.KUBELET))
        containerd = cluster_guest.CONTAINERD.replace("/usr/lib/cni", PLUGINS)  # as the image's own configuration
        one.path("/etc/containerd/config.toml").write_text(containerd)
        one.path("/etc/systemd/system/kubelet.service.d/nspawn.conf").write_text(KUBELET_IN_NSPAWN)
        for file, text in restaurants(number).items():
            one.path(file).write_text(text)
        self.boxes.append(one)
        return one

    def _machine(self) -> Nuc:
        """Its disk holds the image already, and lacks the partitions of a node."""
        place = self.folder / "machine"
        (place / "disk").mkdir(parents=True)
        disk = stick(self.built, place / "disk/disk.raw")
        with disk.open("r+b") as stream:
            stream.truncate(DISK_GIB * 2**30)
        settings, files = self._esp(MACHINE, self.ship(serial(MACHINE), SITE, MACHINE), EMULATED)
        (place / "esp/galley").mkdir(parents=True)
        (place / "esp/galley.yaml").write_text(settings)
        for name, text in files.items():
            (place / "esp/galley" / name).write_text(text)
        at = f"/run/disk/{disk.name}@@{partitions(disk)['esp'].start}"
        chroot.inside(
            self.built.toolbox, "mcopy", "-s", "-i", at, "/run/esp/galley.yaml", "/run/esp/galley", "::",
            binds={disk.parent: "disk", place / "esp": "esp"},
        )  # fmt: skip
        return Nuc(self.built, place / "m", [disk], serial=serial(MACHINE), memory=MEMORY, lan=self.lan)

    def _esp(self, number: int, code: str, kubelet: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        settings = dict(self.settings(number))
        machine = bool(self.emulated) and number == MACHINE
        settings["machine"]["network"]["interface"] = "en*" if machine else "host0"
        settings["heartbeat"] = {"interval_seconds": 2}
        atlas = {"url": f"file://{ATLAS}"}
        access = "/run/galley-access/vessel.kubeconfig"
        settings["vessel"] = {"mode": "pod"} if machine else {"atlas": atlas, "kubeconfig": access, "poll_seconds": 2}
        kubeadm = {**cluster_guest.kubeadm_settings(self.kube.version)["kubeadm"], "kubelet": kubelet, **SLOW}
        settings["edge_commander"] = {
            "enrol_code_file": "/etc/galley/enrol-code", "operators_file": "/etc/galley/operators-1.json",
            "enrol_seconds": 2, "site_seconds": 2, "observe_seconds": 2,
            "distribution": {"kind": "kubeadm", "kubeadm": kubeadm},
        }  # fmt: skip
        files = {
            "ca.pem": self.endpoint.ca_file.read_text(),
            "enrol-code": code,
            "operators-1.json": self.desk.document.read_text(),
            "scenario.yaml": yaml.safe_dump(SCENARIO),
        }
        return yaml.safe_dump(settings), files

    def power_on(self) -> None:
        """All boxes at once; each gets what a pod network's DaemonSet would lay on it."""
        cluster_host.each(self.hosts, ImageHost.boot)
        for host in self.hosts:
            host.run(*BRING_PLUGIN)

    def lay_network(self) -> None:
        """The pod network in the machine, whose shell answers."""
        self.machine.run(f"until mountpoint -q {PLUGINS}; do sleep 1; done; {' '.join(BRING_PLUGIN)}", seconds=600)
        for file, text in restaurants(MACHINE).items():
            folder = file.rpartition("/")[0]
            self.machine.run(f"mkdir -p {folder} && cat > {file} << 'END'\n{text}\nEND")
        # The shell is there before networkd, and may be after galley-settings.service had it read what there was.
        self.machine.run("for try in $(seq 100); do networkctl reload && exit; sleep 3; done; exit 1", seconds=600)

    def commit(self, files: Mapping[str, str]) -> None:
        """Commits to the Atlas, where the boxes see it. git serves no repository of another user."""
        self.repository.commit(dict(files))
        for part in ("objects", "."):  # a branch never names what is not there yet
            shutil.copytree(self.repository.bare / part, self.served / part, dirs_exist_ok=True)
        for path in [self.served, *self.served.rglob("*")]:
            os.chown(path, USERS["vessel"], USERS["vessel"])

    # What can be seen.

    def states(self) -> dict[str, tuple[str, str]]:
        """Node's name to state and reason, as the endpoint knows them."""
        nodes = self.cloud("GET", f"/v1/fleet/nodes?site={SITE}")
        return {
            one["name"]: ((one["state"] or {}).get("state", ""), (one["state"] or {}).get("reason", ""))
            for one in nodes
        }

    def ready(self) -> bool:
        """Whether every node says so to the endpoint."""
        return self.states() == dict.fromkeys(self.names, ("ready", ""))

    def kubectl(self, *arguments: str) -> str:
        """On the first box, through its own API server; empty where that does not answer."""
        server = f"--server=https://{address(NUMBERS[0])}:6443"
        command = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", server, "--request-timeout=10s", *arguments)
        return self.hosts[0].call(*command).stdout

    def nodes_ready(self) -> dict[str, bool]:
        """The cluster's own word."""
        found = json.loads(self.kubectl("get", "nodes", "-o", "json") or '{"items": []}')["items"]
        wanted = ("Ready", "True")
        return {
            one["metadata"]["name"]: wanted in [(c["type"], c["status"]) for c in one["status"]["conditions"]]
            for one in found
        }

    def etcd_members(self) -> list[str]:
        """The names of etcd's voting members."""
        pki, own = "/etc/kubernetes/pki/etcd", f"https://{address(NUMBERS[0])}:2379"
        said = self.hosts[0].run(
            "/opt/kubernetes/current/etcdctl", f"--endpoints={own}", f"--cacert={pki}/ca.crt",
            f"--cert={pki}/server.crt", f"--key={pki}/server.key", "member", "list", "-w", "json",
        )  # fmt: skip
        return [one["name"] for one in json.loads(said)["members"] if not one.get("isLearner")]

    def etcd_metrics(self, number: int) -> str:
        """What etcd on that node counts; empty where there is none."""
        if number <= len(self.hosts):
            return self.hosts[number - 1].call("/opt/galley/bin/python3", "-I", "-c", METRICS).stdout
        return self.machine.run(f"/opt/galley/bin/python3 -I -c '{METRICS}'", check=False, seconds=300)

    def story(self) -> str:
        """What to read when it did not come about."""
        units = ("-u", "galley-edge-commander", "-u", "galley-distribution@*", "-u", "galley-settings")
        command = ("journalctl", "-b", *units, "-n", "25", "-o", "cat", "--no-pager")
        told = [f"== {host.serial}\n{host.run(*command, check=False)}" for host in self.hosts if host.pid1]
        if self.emulated:
            try:
                told.append(self.machine.run(" ".join(command).replace("*", "\\*"), check=False))
            except (TimeoutError, OSError, StartError) as error:
                told.append(f"{error!r}\n{self.machine.console()[-3000:]}")
        return "\n".join(told)

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> float:
        """Polls until it is true; how long it took, s."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.states()}\n{self.story()}")
            time.sleep(0.5)
        return time.monotonic() - began


def serial(number: int) -> str:
    """What the hardware of the node with that number says."""
    return f"GALLEY-SITE-{number}"


def device(number: int) -> str:
    """Its node id."""
    return node_id(serial(number))


def restaurants(number: int) -> dict[str, str]:
    """Path to content: a pod network with a subnet a node, and the ways between them."""
    routes = "".join(
        f"[Route]\nDestination=10.244.{other}.0/24\nGateway={address(other)}\n\n"
        for other in NUMBERS
        if other != number
    )
    files = cluster_guest.files(number, MACHINE, {})
    plugin = "/etc/cni/net.d/10-bridge.conflist"
    network = files[plugin].replace('"bridge"', f'"{PLUGIN}"')
    return {plugin: network, "/etc/systemd/network/10-galley.network.d/pods.conf": routes}


@contextmanager
def formed(built: Built, emulated: MemberRole | None = None) -> Iterator[ImageSite]:
    """A site in a folder of its own, on a disk, without power. Leaves nothing of it behind."""
    folder = Path(tempfile.mkdtemp(prefix="galley-is-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with ImageSite(built, folder, emulated) as site:
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)
