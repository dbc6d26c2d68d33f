"""Upstream Kubernetes on three hosts with a real systemd, containerd and kubelet: one life of a cluster.

Real etcd quorums, real power cuts (SIGKILL to a host's init). The harness leaves nothing behind, which is tested last.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.containers import control_plane
from tests.contract.commander.distribution_suite import DistributionSuite
from tests.site_in_a_box.cluster_host import ClusterHosts, programs
from tests.site_in_a_box.kernel_settings import KernelSettings

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(cluster_parts: None) -> Iterator[ClusterHosts]:
    """Three hosts that were booted, on a disk, as overlays cannot stack on every file system."""
    before = KernelSettings.now()
    folder = Path(tempfile.mkdtemp(prefix="galley-ka-"))
    folder.chmod(0o755)
    hosts = ClusterHosts(folder)
    try:
        with hosts:
            hosts.boot()
            yield hosts
    finally:
        shutil.rmtree(folder)
    assert KernelSettings.now() == before
    assert str(folder) not in Path("/proc/self/mounts").read_text()
    left = [place for place in Path("/sys/fs/cgroup").glob("**/nuc*") if place.name in hosts.names]
    assert not left


class TestKubeadmCluster(DistributionSuite):
    """The suite on kubeadm. Its upgrade is played on all three nodes, by the commander, in test_site_upgrades.py."""

    test_one_node_alone_is_upgraded = None


def test_the_images_are_those_that_kubeadm_names() -> None:
    kube = programs()
    kubeadm = kube.folders[kube.version] / "kubeadm"
    command = [kubeadm, "config", "images", "list", "--kubernetes-version", f"v{kube.version}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    assert set(control_plane.names(kube.version)) <= set(listed)
