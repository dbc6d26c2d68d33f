"""What of a Kubernetes is laid into an image, and that a builder who names half of one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from images.nuc import cluster, lists
from images.nuc.chroot import BuildError

SAYS = """#!/bin/sh
case "$*" in
"version -o short") echo v1.36.7 ;;
*--kubernetes-version\\ v1.36.7) echo registry.k8s.io/etcd:3.6.8-0; echo registry.k8s.io/pause:3.99 ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def kube(tmp_path: Path) -> Path:
    for name in (*cluster.UPSTREAM, "kubectl", "some-images.tar"):
        (tmp_path / name).write_text(SAYS)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_upstream_programs_come_with_what_starts_them(kube: Path) -> None:
    laid = {target: source for source, target in cluster.programs(kube, None).files}
    assert laid["opt/kubernetes/1.36.7/kubelet"] == kube / "kubelet"
    assert laid["usr/share/galley/kubernetes-images/some-images.tar"] == kube / "some-images.tar"
    assert 'sandbox_image = "registry.k8s.io/pause:3.99"' in str(laid["etc/containerd/config.toml"])
    settings = yaml.safe_load(str(laid["etc/galley/galley.d/01-kubernetes.yaml"]))
    assert settings["edge_commander"]["distribution"]["kubeadm"]["version"] == "1.36.7"
    enabled = {line.partition(": ")[2] for line in lists.read("kubernetes-units")}
    assert enabled <= {target.rpartition("/")[2] for target in laid}


def test_the_key_follows_what_is_laid_in(kube: Path) -> None:
    before = cluster.programs(kube, None).key
    assert cluster.programs(kube, None).key == before
    (kube / "etcd").write_text("another")
    assert cluster.programs(kube, None).key not in (before, cluster.NONE.key)


def test_half_a_kubernetes_is_refused(kube: Path) -> None:
    (kube / "etcdctl").unlink()
    with pytest.raises(BuildError, match="etcdctl"):
        cluster.programs(kube, None)
    with pytest.raises(BuildError, match="nowhere"):
        cluster.programs(kube / "nowhere", None)
