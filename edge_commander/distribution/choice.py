"""Makes the Distribution that the settings name. Opens nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.core.ports import Clock
from edge_commander.distribution.apart import Apart
from edge_commander.distribution.existing import ExistingCluster, KubeApi
from edge_commander.distribution.port import Distribution
from edge_commander.settings import DistributionSettings

ACCESS_FILE = "edge-commander.kubeconfig"


def make(
    settings: DistributionSettings, ident: Path, clock: Clock, *, say: Callable[[str], None] = lambda text: None
) -> Distribution:
    """The configured implementation, for a process with its privileges. `ident`: where what must outlive a wipe is
    remembered; `say`: hears each step before it is done."""
    if settings.kind == "kubeadm":
        from edge_commander.distribution.kubeadm.cluster import KubeadmCluster  # only such a node pays for it

        return KubeadmCluster(settings.kubeadm, connect, say=say)
    if settings.kind == "k3s":
        from edge_commander.distribution.k3s.distribution import K3s

        return K3s(settings.k3s, ident / "k3s.json", connect, clock, told=say)
    return ExistingCluster(Path(settings.kubeconfig) if settings.kubeconfig else None, connect)


def make_unprivileged(settings: DistributionSettings, run_dir: Path) -> Distribution | Apart:
    """The commander's half of an implementation that needs root; the whole of one that does not."""
    if settings.kind == "existing":
        return ExistingCluster(Path(settings.kubeconfig) if settings.kubeconfig else None, connect)
    observer = ExistingCluster(Path(settings.access_dir) / ACCESS_FILE, connect)
    return Apart(settings.kind, run_dir / "distribution.sock", observer)


def holds(settings: DistributionSettings, version: str) -> bool:
    """Whether the programs of a version lie on this node, to be upgraded to."""
    if settings.kind == "kubeadm":
        return Path(settings.kubeadm.programs, version.removeprefix("v"), "kubeadm").is_file()
    return settings.kind == "k3s" and Path(settings.k3s.upgrade_dir, version, "k3s").is_file()


async def connect(kubeconfig: Path | None) -> KubeApi:
    """Opens a Kubernetes client; sends nothing yet. Raises Rejected when the kubeconfig is not usable."""
    from agents.io.kube import Kube  # only a node with a cluster pays for it

    return await Kube.connect(kubeconfig=kubeconfig, user_agent="edge-commander")
