"""Makes the Distribution that the settings name. Opens nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_commander.distribution.existing import ExistingCluster, KubeApi
from edge_commander.distribution.port import Distribution
from edge_commander.settings import DistributionSettings


def make(settings: DistributionSettings, *, say: Callable[[str], None] = lambda text: None) -> Distribution:
    """The configured implementation. `say`: hears each step before it is done."""
    if settings.kind == "kubeadm":
        from edge_commander.distribution.kubeadm.cluster import KubeadmCluster  # only such a node pays for it

        return KubeadmCluster(settings.kubeadm, connect, say=say)
    return ExistingCluster(Path(settings.kubeconfig) if settings.kubeconfig else None, connect)


async def connect(kubeconfig: Path | None) -> KubeApi:
    """Opens a Kubernetes client; sends nothing yet. Raises Rejected when the kubeconfig is not usable."""
    from agents.io.kube import Kube  # only a node with a cluster pays for it

    return await Kube.connect(kubeconfig=kubeconfig, user_agent="edge-commander")
