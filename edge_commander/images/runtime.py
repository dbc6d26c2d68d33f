"""Where a distribution's containerd is, the words that `ctr` is started with, and what it says when it fails. Pure.

Source: containerd's `docs/hosts.md`; for k3s its own folders (docs.k3s.io: "Private Registry Configuration").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from agents.core.errors import Rejected
from edge_commander.images.settings import PrepullSettings
from edge_commander.settings import DistributionSettings

NAMESPACE = "k8s.io"
"""Of all that the CRI plugin, and so kubelet, sees."""
K3S_SOCKET = "/run/k3s/containerd/containerd.sock"
K3S_DIR = "/var/lib/rancher/k3s/agent"
GENTLY = ("nice", "-n", "19", "ionice", "-c", "3")
COLLECTOR = "galley-collect"


@dataclass(frozen=True)
class Runtime:
    """`ctr`: the program and its first words; `folder`: what containerd stores in; `hosts`: how registries are reached
    (mirrors, authorities)."""

    ctr: tuple[str, ...]
    folder: str
    hosts: str

    @property
    def names(self) -> list[str]:
        """Names the images that are here: containerd notes a name once all of it has come."""
        return [*self.ctr, "images", "ls", "-q"]

    def forget(self, image: str) -> list[str]:
        """Removes an image, and what belongs to no other."""
        return [*self.ctr, "images", "rm", "--sync", image]

    @property
    def usage(self) -> list[str]:
        """What this ctr's `pull` takes."""
        return [*self.ctr, "images", "pull", "--help"]

    def pull(self, image: str, *, local: bool) -> list[str]:
        """Pulls, in the process itself: `local` for a ctr (2.0 and later) that else asks containerd to do it."""
        own = ["--local"] if local else []
        return [*GENTLY, *self.ctr, "images", "pull", *own, "--hosts-dir", self.hosts, image]

    @property
    def collect(self) -> list[list[str]]:
        """Makes containerd collect what belongs to no image: ending any lease in this way does it at once."""
        leases = [*self.ctr, "leases"]
        return [
            [*leases, "create", "--id", COLLECTOR, "--expires", "1m"],
            [*leases, "delete", "--sync", COLLECTOR],
        ]


def runtime_of(distribution: DistributionSettings, prepull: PrepullSettings) -> Runtime:
    """The runtime of a node. Raises Rejected where the cluster is somebody else's."""
    if distribution.kind == "kubeadm":
        socket = distribution.kubeadm.runtime.removeprefix("unix://")
        ctr: tuple[str, ...] = ("ctr",)
        folder, hosts = "/var/lib/containerd", "/etc/containerd/certs.d"
    elif distribution.kind == "k3s":
        socket, ctr = K3S_SOCKET, (distribution.k3s.binary, "ctr")
        folder, hosts = f"{K3S_DIR}/containerd", f"{K3S_DIR}/etc/containerd/certs.d"
    else:
        raise Rejected("this node's containerd is not ours to pull with")
    return Runtime(
        (*ctr, "--address", socket, "--namespace", NAMESPACE),
        prepull.containerd_dir or folder,
        prepull.hosts_dir or hosts,
    )


class Fault(StrEnum):
    """Why a pull failed, in words for people."""

    SECRET = "needs a pull secret"  # noqa: S105
    ABSENT = "the registry has no such image"
    DAMAGED = "what came is not what its digest says"
    FULL = "the disk is full"
    OTHER = "could not be pulled"

    @property
    def final(self) -> bool:
        """Whether trying again soon is of no use."""
        return self in (Fault.SECRET, Fault.ABSENT, Fault.FULL)

    @property
    def litter(self) -> bool:
        """Whether what is here of it is of no use, and would be in the way of the next try (containerd takes a whole
        but damaged download up again, and finds it damaged again)."""
        return self in (Fault.DAMAGED, Fault.FULL)


_SIGNS = (
    (Fault.FULL, r"no space left on device|disk quota exceeded"),
    (Fault.DAMAGED, r"unexpected commit (digest|size)|failed size validation|failed precondition|invalid checksum"
                    r"|unexpected EOF.*gzip|gzip: invalid"),
    (Fault.SECRET, r"\b40[13]\b|unauthorized|authorization failed|access denied|insufficient_scope|forbidden"),
    (Fault.ABSENT, r"(?m): not found$|manifest unknown|name unknown"),
)  # fmt: skip


def fault_of(said: str) -> Fault:
    """What ctr's errors mean."""
    return next((fault for fault, sign in _SIGNS if re.search(sign, said, re.IGNORECASE)), Fault.OTHER)


def quoted(said: str) -> str:
    """The last line of ctr's errors, without what follows `?` in addresses: registries sign downloads there."""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return re.sub(r"\?[^\s\"']*", "?...", lines[-1].removeprefix("ctr: "))[-400:] if lines else "no word"
