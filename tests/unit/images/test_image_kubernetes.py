"""What of a Kubernetes is laid into an image, and that a builder who names half of one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from images.nuc import build, cluster, lists
from images.nuc.chroot import BuildError

SAYS = """#!/bin/sh
case "$*" in
"version -o short") echo v1.36.7 ;;
*--kubernetes-version\\ v1.36.7) echo registry.k8s.io/etcd:3.6.8-0; echo registry.k8s.io/pause:3.99 ;;
*) exit 1 ;;
esac
"""
K3S = """#!/bin/sh
[ "$*" = --version ] && printf 'k3s version v1.33.1+k3s1 (99d91538)\\ngo version go1.24.2\\n'
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


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("exit 0", "says no version"),
        ("echo v../../../../etc", "says no version"),
        ("echo 'v1.36.7: {'", "says no version"),
        ("printf '\\377\\376'", "says no version"),
        ('[ "$1" != version ] || echo v1.36.7', "names no image"),
    ],
)
def test_what_is_no_kubeadm_is_told_and_becomes_no_path(kube: Path, says: str, told: str) -> None:
    (kube / "kubeadm").write_text(f"#!/bin/sh\n{says}\n")
    with pytest.raises(BuildError, match=told):
        cluster.programs(kube, None)


def test_what_cannot_be_run_is_no_program(kube: Path) -> None:
    """An image with it would start nothing, and say so on a node alone."""
    k3s = kube / "k3s"
    k3s.write_text(K3S)
    with pytest.raises(BuildError, match=r"not executable: \S+/k3s$"):
        cluster.programs(None, k3s)
    k3s.chmod(0o755)
    assert cluster.programs(None, k3s).files[0] == (k3s, "usr/bin/k3s")
    (kube / "kubectl").chmod(0o644)
    with pytest.raises(BuildError, match=r"not executable: \S+/kubectl$"):
        cluster.programs(kube, None)


@pytest.mark.parametrize(
    "says", ["exit 0", "echo 'true (GNU coreutils) 9.1'", "echo v1.33.1+k3s1", "printf '\\377\\376'"]
)
def test_what_is_no_k3s_is_told(tmp_path: Path, says: str) -> None:
    k3s = tmp_path / "k3s"
    k3s.write_text(f"#!/bin/sh\n{says}\n")
    k3s.chmod(0o755)
    with pytest.raises(BuildError, match=r"k3s says no version of k3s: "):
        cluster.programs(None, k3s)


def test_one_image_has_one_kind_of_cluster(kube: Path) -> None:
    (kube / "k3s").write_text(K3S)
    (kube / "k3s").chmod(0o755)
    with pytest.raises(BuildError, match="KUBE= and K3S= exclude each other"):
        cluster.programs(kube, kube / "k3s")


@pytest.mark.parametrize("given", ["abc", "-5", "1.5", "99999999999999"])
def test_a_time_of_the_build_that_is_none_is_told(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH"):
        build.build_epoch()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1750000000")
    assert build.build_epoch() == 1_750_000_000


def test_a_version_that_no_boot_loader_sorts_is_told() -> None:
    for wrong in ("1.4.0-rc1", "v1.4", "1.2.3.4.5", "\u0661.\u0662"):
        with pytest.raises(BuildError, match="numbers and dots"):
            build.ensure(version=wrong)
