"""Hosts that can form a real cluster: systemd-nspawn with containerd and kubelet, on a LAN of their own.

    with ClusterHosts(folder, count=3) as hosts:
        hosts.boot()
        hosts[0].operate("init", plan=hosts.plan(0))

Needs root; nothing is left of them afterwards: no process, mount, control group, link or kernel setting.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from edge_commander.distribution.port import ClusterPlan
from edge_commander.secrets.model import SiteSecrets
from images.containers import control_plane
from tests.site_in_a_box import cluster_guest, host_tree, kube_build, kube_stamp, site_secrets
from tests.site_in_a_box.host import Host
from tests.site_in_a_box.host_disk import KEEP, HostDisk
from tests.site_in_a_box.host_suite import free_name
from tests.site_in_a_box.kernel_settings import KernelSettings
from tests.site_in_a_box.lan import BRIDGE, Lan, address

DISKS = ("containerd", "etcd", "kubelet")
"""Folders of /var/lib that no overlay can hold: they lie on this machine's disk."""
PYTHON = "/opt/galley/bin/python3"
PLAN_FILE = "/run/galley-plan.json"
OPERATION_SECONDS = 420
PARTED_BOOT_SECONDS = 240
"""A blank host that takes its images itself."""
SNAPSHOTS = f"{KEEP}/kubernetes"
"""Where a host with partitions has its snapshots: they outlive a wipe."""
OPTIONS = ("--capability=all", "--system-call-filter=@known", "--bind=/dev/kmsg", f"--network-bridge={BRIDGE}")


@dataclass(frozen=True)
class Programs:
    """Kubernetes on this machine: folders of programs, and archives of images, by version; `version`: the first."""

    version: str
    folders: dict[str, Path]
    archives: dict[str, Path]

    @property
    def later(self) -> str:
        """The version to upgrade to."""
        return kube_stamp.next_patch(self.version)


def programs() -> Programs:
    """Builds what is missing: programs (minutes), the same stamped as the next patch version, and their images."""
    built = kube_build.ensure(kube_build.EVERYTHING)
    version = kube_stamp.version_of(built / "kubeadm")
    later = kube_stamp.next_patch(version)
    stamped = [*control_plane.COMPONENTS, "kubeadm", "kubelet"]
    restamped = kube_stamp.restamp_all(built, built.with_name(f"{built.name}-as-{later}"), stamped, version, later)
    archives = {
        version: control_plane.ensure(built, version),
        later: control_plane.ensure(restamped, later, components_only=True),
    }
    return Programs(version, {version: built, later: restamped}, archives)


@dataclass(frozen=True)
class Outcome:
    """What came of an operation: exit status (0, 1 refused, 75 try again), its answer, and the steps it said."""

    status: int
    answer: Any
    said: str


class ClusterHost(Host):
    """One host. `number`, from 1, gives its address and pod subnet. `own_images` None: /var's big folders lie on this
    machine's disk, and the harness gives containerd its images. Else it has partitions as a NUC has, and takes the
    archives of those paths itself."""

    def __init__(
        self,
        name: str,
        folder: Path,
        lan: Lan,
        number: int,
        *,
        hosts: int,
        kube: Programs,
        galley: dict[str, Any],
        options: Sequence[str] = (),
        own_images: Sequence[str] | None = None,
    ) -> None:
        self.number = number
        self.address = address(number)
        self.kube = kube
        self.own_images = own_images
        options = [*OPTIONS, *options]
        self.disk = HostDisk(folder / "disk") if own_images is not None else None
        if self.disk is not None:
            options += self.disk.options()
            self.boot_seconds = PARTED_BOOT_SECONDS
        for disk in DISKS if self.disk is None else ():
            (folder / "disks" / disk).mkdir(parents=True)
            options.append(f"--bind={folder}/disks/{disk}:/var/lib/{disk}")
        for version, place in kube.folders.items():
            options.append(f"--bind-ro={place}:/opt/kubernetes/{version}")
            options.append(f"--bind-ro={kube.archives[version]}:{archive(version)}")
        super().__init__(
            name, folder, options=options, tree=host_tree.ensure(cluster_guest.PACKAGES), enter=lan.enter,
            environ={"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )  # fmt: skip
        self.prepare()
        files, links = cluster_guest.files(number, hosts, galley), dict(cluster_guest.LINKS)
        if self.disk is None:
            (folder / "disks/etcd").chmod(0o700)
        else:
            files.update(cluster_guest.own_images(own_images or ()))
            links.update(cluster_guest.IMAGES_LINK)
            self.disk.lay(folder / "upper")
        for inside, content in files.items():
            self.path(inside).write_text(content)
        for inside, target in links.items():
            self.path(inside).symlink_to(target)

    def import_images(self, version: str) -> None:
        """Gives containerd the images of that version, as the NUC's image brings them, unless the host did."""
        if self.own_images is not None and archive(version) in self.own_images:
            return
        self.wait_property("containerd.service", "ActiveState", "active")
        self.import_archive(archive(version))

    def import_archive(self, inside: str) -> None:
        """Gives containerd the images of a tar in the guest."""
        self.run("ctr", "-n", "k8s.io", "images", "import", inside, seconds=180)

    def operate(self, operation: str, argument: str = "", *, plan: ClusterPlan | None = None) -> Outcome:
        """One operation of the Distribution in there, by the command that operators have."""
        command = [PYTHON, "-m", "edge_commander.distribution.run", operation, *([argument] if argument else [])]
        if plan is not None:
            self.write_private(PLAN_FILE, msgspec.json.encode(plan).decode())
            command += ["--plan", PLAN_FILE]
        done = self.call(*command, seconds=OPERATION_SECONDS)
        return Outcome(done.returncode, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr)

    def write_private(self, inside: str, text: str) -> None:
        """A file that only root may read, in the running guest."""
        enter = ["nsenter", "-t", str(self.pid1), "-m", "--", "/bin/sh", "-c", f"umask 077; cat > {inside}"]
        subprocess.run(enter, input=text, text=True, check=True, timeout=20)

    def holds(self, inside: str) -> bool:
        """Whether there is such a file in the running guest."""
        return self.call("test", "-e", inside).returncode == 0

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """kubectl with the administrator's kubeconfig of that host."""
        return self.run("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=5s", *arguments,
                        check=check)  # fmt: skip

    def api_ready(self) -> bool:
        """Whether its own API server says so."""
        return self.call("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", f"--server=https://{self.address}:6443",
                         "--request-timeout=3s", "get", "--raw=/readyz").stdout.strip() == "ok"  # fmt: skip

    def wipe(self, disk: str) -> None:
        """Empties one of its folders; the host must be off, and without partitions."""
        for entry in (self.folder / "disks" / disk).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def remove(self) -> None:
        """See Host; its loop devices are given back too."""
        if self.disk is not None:
            self.disk.close()
        super().remove()

    def cpu_seconds(self) -> float:
        """CPU time that everything in there has used since it booted."""
        unified = Path("/sys/fs/cgroup/unified")
        place = (unified if unified.is_dir() else Path("/sys/fs/cgroup")) / self.name / "cpu.stat"
        return int(place.read_text().split()[1]) / 1e6


class ClusterHosts:
    """`count` hosts of one site on one LAN. `galley`: more of each host's galley.yaml, merged at the top;
    `options`: more of systemd-nspawn's arguments. `parted`: they have partitions, and besides Kubernetes' images take
    the archives of these paths in the guest by themselves."""

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 3,
        site: str = "store-00001",
        galley: dict[str, Any] | None = None,
        options: Sequence[str] = (),
        parted: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder
        self.parted = parted
        self.count = count
        self.site = site
        self.kube = programs()
        self.secrets: SiteSecrets = site_secrets.make(site)
        self.lan = Lan(folder)
        self.galley = galley or {}
        self.options = tuple(options)
        self.hosts: list[ClusterHost] = []
        self.more: list[ClusterHost] = []
        self.names = [free_name(f"nuc{number}") for number in range(1, count + 1)]
        self._kernel = KernelSettings()
        self._folders = 0

    def __getitem__(self, index: int) -> ClusterHost:
        return self.hosts[index]

    def __iter__(self) -> Iterator[ClusterHost]:
        return iter(self.hosts)

    def boot(self) -> None:
        """All hosts, with their images, at once."""
        each(self.hosts, self._start)

    def _start(self, host: ClusterHost) -> None:
        host.boot()
        host.import_images(self.kube.version)

    def plan(self, index: int, *, servers: Sequence[int] = (), epoch: int = 1) -> ClusterPlan:
        """The plan of host `index`; `servers`: indices of those that are members already."""
        secrets = msgspec.structs.replace(self.secrets, epoch=epoch)
        return ClusterPlan(
            site=self.site, epoch=epoch, node=self.names[index], address=address(index + 1),
            servers=[address(other + 1) for other in servers], secrets=secrets,
        )  # fmt: skip

    def replace(self, index: int) -> ClusterHost:
        """A blank box in place of a host that is off: same name and address, nothing on its disks. Not booted."""
        self.hosts[index].remove()
        self.hosts[index] = self._make(self.names[index], index + 1)
        return self.hosts[index]

    def add(self) -> ClusterHost:
        """One more box, which is none of the `count`: not in `hosts`, and not booted."""
        self.names.append(free_name(f"nuc{len(self.names) + 1}"))
        self.more.append(self._make(self.names[-1], len(self.names)))
        return self.more[-1]

    def _make(self, name: str, number: int) -> ClusterHost:
        self._folders += 1
        galley = {
            "v": 1,
            **self.galley,
            "edge_commander": {
                **self.galley.get("edge_commander", {}),
                "distribution": {
                    **self.galley.get("edge_commander", {}).get("distribution", {}),
                    **cluster_guest.kubeadm_settings(self.kube.version, "" if self.parted is None else SNAPSHOTS),
                },
            },
        }
        place = self.folder / f"h{self._folders}"
        place.mkdir()
        return ClusterHost(
            name,
            place,
            self.lan,
            number,
            hosts=max(self.count, number),
            kube=self.kube,
            galley=galley,
            options=self.options,
            own_images=None if self.parted is None else [archive(self.kube.version), *self.parted],
        )

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self.down)
            self.lan.up()
            for number, name in enumerate(self.names, 1):
                self.hosts.append(self._make(name, number))
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """Cuts all, and puts the machine back as it was."""
        everyone = [*self.hosts, *self.more]
        each([host for host in everyone if host.pid1 or host.program.running], ClusterHost.cut_power)
        self.lan.down()
        self._kernel.restore()
        for host in everyone:
            host.remove()


def archive(version: str) -> str:
    """Where in the guest the images of a version are."""
    return f"/opt/images/{version}.tar"


def each(hosts: Sequence[ClusterHost], do: Any) -> list[Any]:
    """Does it for all hosts at once; the first error is raised when all have ended."""
    if not hosts:
        return []
    with ThreadPoolExecutor(len(hosts)) as pool:
        return [future.result() for future in [pool.submit(do, host) for host in hosts]]
