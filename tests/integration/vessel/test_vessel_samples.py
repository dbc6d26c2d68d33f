"""The samples that SAMPLES names, as they are, carried out by a real Vessel until healthy, or refused with a place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest


def lay(slate: Any, source: Path) -> str:
    """Commits one sample as an app, unchanged, beside an app with a namespace for what names none."""
    app = slate.repo.work / "apps" / slate.ns
    shutil.copytree(source, app / "manifests")
    (app / "app.yaml").write_text(slate.app(path="manifests", stage=1, timeout_seconds=120))
    base = slate.repo.work / "apps/base"
    base.mkdir()
    (base / "app.yaml").write_text(slate.app())
    (base / "namespace.yaml").write_text(slate.namespace())
    revision: str = slate.repo.commit_all("a sample")
    return revision


@pytest.mark.parametrize(
    ("sample", "deployments"),
    [("podinfo/kustomize", 1), ("podinfo/deploy/webapp", 2), ("online-boutique/kustomize", 12)],
)
async def test_a_sample_becomes_healthy(slate: Any, samples: Path, sample: str, deployments: int) -> None:
    revision = lay(slate, samples / sample)
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=revision, seconds=150)
    [body] = [b for b in vessel.outbox() if b.get("app") == slate.ns and b["phase"] == "healthy"]
    counts = body["counts"]
    assert counts["total"] == counts["created"] == counts["healthy"]
    live = slate.site.kubectl(
        "get", "deployments", "-A", "-l", f"vessel.galley/app={slate.ns}",
        "-o", "jsonpath={range .items[*]}{.status.availableReplicas}{'\\n'}{end}",
    ).split()  # fmt: skip
    assert len(live) == deployments
    assert all(int(replicas) >= 1 for replicas in live)


async def test_the_release_of_online_boutique(slate: Any, samples: Path) -> None:
    """Its folder needs kinds that are not served: refused whole. Its manifests for plain Kubernetes become healthy."""
    release = samples / "online-boutique/release"
    bad = lay(slate, release)
    vessel = slate.vessel().start()
    report = await vessel.wait_report(app="*", phase="refused", revision=bad)
    assert all("istio-manifests.yaml:" in problem for problem in report["problems"]), report
    assert slate.get("namespace", slate.ns, "") is None
    (slate.repo.work / "apps" / slate.ns / "manifests/istio-manifests.yaml").unlink()
    good = slate.repo.commit_all("plain Kubernetes")
    await vessel.wait_report(app="*", phase="healthy", revision=good, seconds=150)
    wanted = re.findall(r"(?m)^kind: *Deployment$", (release / "kubernetes-manifests.yaml").read_text())
    assert len([name for name in slate.names() if name.startswith("deployment/")]) == len(wanted) > 0


async def test_podinfo_secure_is_refused_whole(slate: Any, samples: Path) -> None:
    source = samples / "podinfo/deploy/secure"
    revision = lay(slate, source)
    mark = slate.site.audit_mark()
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="refused", revision=revision)
    [body] = [b for b in vessel.outbox() if b.get("app") == "*" and b["phase"] == "refused"]
    named = {(problem["file"], problem["line"], problem["object"].split()[0]) for problem in body["problems"]}
    unknown = {
        (f"apps/{slate.ns}/manifests/{file.relative_to(source)}", _line(file), kind)
        for file in source.rglob("*.yaml")
        for kind in ("Certificate", "ClusterIssuer")
        if re.search(rf"(?m)^kind: {kind}$", file.read_text())
    }
    assert len(unknown) == 2
    assert named == unknown
    assert all("cert-manager.io/v1" in problem["cause"] for problem in body["problems"])
    written = [
        call
        for call in slate.site.audit_calls(since=mark)
        if call.user_agent.startswith("galley-vessel")
        and call.verb in ("create", "update", "patch", "delete")
        and call.namespace != "galley-system"
        and not call.dry_run
    ]
    assert written == []
    assert slate.get("namespace", "secure", "") is None


def _line(file: Path) -> int:
    """Where the file's one object begins."""
    lines = file.read_text().splitlines()
    return next(n for n, line in enumerate(lines, start=1) if line.startswith(("apiVersion:", "kind:")))
