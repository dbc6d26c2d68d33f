"""Pytest fixtures for Kubernetes sites. All are synchronous, so they work under every loop scope.

A private site costs 4 to 10 s and 550 MB; prefer the shared `kube_site` with a `kube_namespace` of your
own, unless the test kills the API server or touches cluster-scoped objects of others.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.site_in_a_box import kube_build
from tests.site_in_a_box.go_toolchain import BuildError

if TYPE_CHECKING:
    from tests.site_in_a_box.kube_etcd import Etcd
    from tests.site_in_a_box.kube_site import KubeSite

NODES = ("nuc-a", "nuc-b", "nuc-c")


def build_for(items: list[pytest.Item]) -> None:
    """Builds what the collected tests need, before any of them and its time limit starts."""
    used = {name for item in items for name in getattr(item, "fixturenames", ())}
    if "kube_binaries" not in used:
        return
    try:
        kube_build.ensure(kube_build.EVERYTHING if "kubelet" in used else kube_build.CONTROL_PLANE)
    except BuildError as error:
        raise pytest.UsageError(f"the tests' Kubernetes cannot be built: {error}") from error


@pytest.fixture(scope="session")
def kube_binaries() -> Path:
    """The directory with kube-apiserver, kubectl, etcd, kwok and so on."""
    return kube_build.ensure()


@pytest.fixture(scope="session")
def kubelet(kube_binaries: Path) -> Path:
    """The kubelet program, for tests with a real node."""
    return kube_build.ensure(kube_build.EVERYTHING) / "kubelet"


@pytest.fixture(scope="session")
def kube_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all sites of the run keep logs, keys and kubeconfigs."""
    return tmp_path_factory.mktemp("kube")


@pytest.fixture(scope="session")
def etcd(kube_binaries: Path, kube_folder: Path) -> Iterator[Etcd]:
    """One etcd for the whole run."""
    from tests.site_in_a_box.kube_etcd import Etcd

    with Etcd(kube_binaries, kube_folder) as running:
        yield running


@pytest.fixture(scope="session")
def kube_site(kube_binaries: Path, kube_folder: Path, etcd: Etcd) -> Iterator[KubeSite]:
    """The shared site: control plane, KWOK, nodes nuc-a, nuc-b, nuc-c. Never kill it; use a namespace."""
    from tests.site_in_a_box.kube_site import KubeSite

    with KubeSite("store-00001", kube_folder, etcd, nodes=NODES, binaries=kube_binaries) as site:
        yield site


@pytest.fixture
def kube_namespace(kube_site: KubeSite) -> Iterator[str]:
    """A new namespace in the shared site, removed afterwards; its default service account is there."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    kube_site.kubectl("create", "namespace", name)
    kube_site.wait_namespace(name)
    yield name
    kube_site.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def make_kube_site(kube_binaries: Path, kube_folder: Path, etcd: Etcd) -> Iterator[Callable[..., KubeSite]]:
    """A function that starts a private site: `make_kube_site("name", nodes=[...], controllers=False)`."""
    from tests.site_in_a_box.kube_site import KubeSite

    with contextlib.ExitStack() as running:

        def make(name: str, **options: Any) -> KubeSite:
            folder = kube_folder / f"private-{uuid.uuid4().hex[:8]}"
            return running.enter_context(KubeSite(name, folder, etcd, binaries=kube_binaries, **options))

        yield make
