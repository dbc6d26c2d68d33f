"""Which versions may follow one another, and the steps of one node's upgrade. Pure.

Source of the rule: Kubernetes' version skew policy (no minor version is skipped, none goes back).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.core.errors import Rejected
from edge_commander.distribution.kubeadm.config import upgrade_documents
from edge_commander.distribution.kubeadm.facts import LocalFacts
from edge_commander.distribution.kubeadm.settings import KubeadmSettings
from edge_commander.distribution.kubeadm.steps import Link, Marker, Run, Step, WaitNode, Write

_VERSION = re.compile(r"v?(\d{1,3})\.(\d{1,3})\.(\d{1,3})")


def parse(version: str) -> tuple[int, int, int]:
    """`1.36.2` or `v1.36.2` as numbers; Rejected when it is none."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise Rejected(f"{version[:40]!r} is no release of Kubernetes")
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


def text(version: str) -> str:
    """`1.36.2`."""
    return ".".join(str(part) for part in parse(version))


def check(now: str, wanted: str) -> None:
    """Rejected when a node may not go from `now` to `wanted`."""
    old, new = parse(now), parse(wanted)
    if new[0] != old[0]:
        raise Rejected(f"the major version may not change: {text(now)} to {text(wanted)}")
    if new < old:
        raise Rejected(f"a node does not go back: {text(now)} to {text(wanted)}")
    if new[1] > old[1] + 1:
        raise Rejected(f"minor versions may not be skipped: {text(now)} to {text(wanted)}")


def restored(saved: str, configured: str, here: Sequence[str]) -> str:
    """The version in which a snapshot's cluster starts anew: what it ran when it was `saved`, where an order had
    brought it past the `configured` one. `here`: versions whose programs are on this node. Rejected when it would go
    back."""
    if not saved or parse(saved) <= parse(configured):
        return configured
    if text(saved) not in here:
        raise Rejected(f"the snapshot is of {text(saved)}, whose programs are not on this node")
    return text(saved)


def joins_in(cluster: str, configured: str, here: Sequence[str]) -> str:
    """The version in which a server joins: the cluster's, where an order had brought it past the `configured` one and
    its programs are on this node. Without them it joins in the older one, as far as kubeadm lets it."""
    if cluster and parse(cluster) > parse(configured) and text(cluster) in here:
        return text(cluster)
    return configured


def steps(
    wanted: str,
    *,
    facts: LocalFacts,
    node_version: str,
    cluster_version: str,
    plane: str,
    etcd: bool,
    settings: KubeadmSettings,
) -> list[Step]:
    """What is left to do. `node_version`: the kubelet's that runs; `cluster_version`: what kubeadm's configuration in
    the cluster says; `plane`: the version of this node's control plane on disk ("" when its parts differ); `etcd`: it
    has to change as well."""
    marker, version = facts.marker, text(wanted)
    if marker is None or not marker.done:
        raise Rejected("this node is not a member of a cluster")
    check(node_version, version)
    if parse(node_version) == parse(version) and plane == version and facts.current == version:
        return []
    if version not in facts.versions:
        raise Rejected(f"its programs are not on this node: {settings.programs}/{version}")
    file = f"{settings.state_dir}/upgrade.yaml"
    kubeadm = f"{settings.programs}/{version}/kubeadm"
    made: list[Step] = [Write(file, upgrade_documents(settings, etcd=etcd))]
    if parse(cluster_version) < parse(version):
        arguments = ("upgrade", "apply", f"v{version}", "--config", file, "--yes")
        made.append(Run(kubeadm, arguments, settings.upgrade_seconds))
    elif plane != version:
        made.append(Run(kubeadm, ("upgrade", "node", "--config", file), settings.upgrade_seconds))
    return [
        *made,
        Link(f"{settings.programs}/current", version),
        Run("systemctl", ("restart", "kubelet.service"), 60),
        WaitNode(marker.node, version),
    ]


def marked(marker: Marker, version: str) -> Marker:
    """The marker after an upgrade."""
    return Marker(
        site=marker.site, epoch=marker.epoch, node=marker.node, address=marker.address, role=marker.role,
        done=marker.done, cluster=marker.cluster, version=text(version),
    )  # fmt: skip
