"""A clean slate in the shared site for each test of Vessel, and manifests in short."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.site_in_a_box import samples as samples_of
from tests.site_in_a_box.atlas_clone import MANIFEST
from tests.site_in_a_box.gitrepos import GitRepo
from tests.site_in_a_box.gitserver import GitServer
from tests.site_in_a_box.kube_site import KubeSite
from tests.site_in_a_box.process import stop_all
from tests.site_in_a_box.vessel_process import VesselProcess

KINDS = "deployments,statefulsets,daemonsets,jobs,configmaps,secrets,services,serviceaccounts"


class Slate:
    """Names, manifests and questions of one test; everything of it is in namespaces that begin with `ns`."""

    def __init__(self, site: KubeSite, kubectl: Path, folder: Path) -> None:
        self.site = site
        self.kubectl_path = kubectl
        self.folder = folder
        self.ns = f"v-{uuid.uuid4().hex[:8]}"
        self.repo = GitRepo(folder, "atlas", "main")
        self.vessels: list[VesselProcess] = []

    def vessel(self, name: str = "nuc-a", **settings: Any) -> VesselProcess:
        """A Vessel that follows the test's repository."""
        settings.setdefault("atlas", {"url": self.repo.url})
        settings.setdefault("kubeconfig", self.site.kubeconfig)
        process = VesselProcess(self.folder / f"{name}-{self.ns}", kubectl=self.kubectl_path, **settings)
        self.vessels.append(process)
        return process

    def app(self, **fields: Any) -> str:
        """An app.yaml."""
        return yaml.safe_dump({"v": 1, "owner": "team", "namespace": self.ns, "timeout_seconds": 60, **fields})

    def namespace(self, name: str = "") -> str:
        """A Namespace."""
        return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name or self.ns}})

    def config_map(self, name: str, **data: str) -> str:
        """A ConfigMap."""
        return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})

    def deployment(self, name: str, replicas: int = 1, **pod: Any) -> str:
        """A Deployment; `pod` goes into the pod's spec."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}], **pod}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """A live object, None when it is not there."""
        where = ["-n", self.ns if namespace is None else namespace]
        text = self.site.kubectl("get", kind, name, *where, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def names(self, namespace: str | None = None) -> set[str]:
        """`kind/name` of all of Vessel's objects in a namespace."""
        where = ["-n", self.ns if namespace is None else namespace]
        text = self.site.kubectl("get", KINDS, *where, "-l", "vessel.galley/app", "-o", "name", "--ignore-not-found")
        return {
            line.split(".")[0] + "/" + line.split("/")[1] if "." in line.split("/")[0] else line
            for line in text.split()
        }

    def clean(self) -> None:
        """Takes Vessel's processes and what it keeps in the cluster away."""
        stop_all([vessel.program for vessel in self.vessels], grace=10)
        site = self.site
        site.kubectl("delete", "secrets", "-n", "galley-system", "-l", "vessel.galley/inventory", "--ignore-not-found")
        site.kubectl("delete", "lease", "vessel", "-n", "galley-system", "--ignore-not-found")
        for kind in ("namespaces", "clusterroles", "clusterrolebindings", "customresourcedefinitions"):
            site.kubectl("delete", kind, "-l", "vessel.galley/app", "--wait=false", "--ignore-not-found")
        site.kubectl("delete", "namespace", self.ns, "--wait=false", "--ignore-not-found")


@pytest.fixture
def slate(kube_site: KubeSite, kube_binaries: Path, tmp_path: Path) -> Iterator[Slate]:
    """One test's clean slate."""
    made = Slate(kube_site, kube_binaries / "kubectl", tmp_path)
    try:
        yield made
    finally:
        made.clean()


@pytest.fixture
def samples(capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of podinfo and online boutique; where SAMPLES names none, the summary tells what was not run."""
    found = samples_of.folder()
    if found is not None and all((found / part).is_dir() for part in samples_of.KNOWN.values()):
        return found
    with capsys.disabled():
        print("\nnot run: the samples' manifests (SAMPLES names no folder of podinfo and online boutique)", flush=True)
    pytest.skip("SAMPLES")


@pytest.fixture
def dump() -> Callable[..., str]:
    """Several YAML documents as one text."""
    return lambda *documents: "---\n".join(documents)


@pytest.fixture
def origin(tmp_path: Path) -> GitRepo:
    folder = tmp_path / "origin"
    folder.mkdir()
    repo = GitRepo(folder)
    repo.commit({"a.yaml": MANIFEST, "deep/er/b.yaml": MANIFEST}, "first <script>alert(1)</script>")
    return repo


@pytest.fixture
async def server(origin: GitRepo) -> AsyncIterator[GitServer]:
    async with GitServer.start(origin.bare.parent) as running:
        yield running
