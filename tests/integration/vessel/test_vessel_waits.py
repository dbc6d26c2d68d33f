"""What cannot pass, and what cannot be judged yet: neither stops Vessel from keeping what was applied before."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def status(vessel: Any) -> str:
    """What `vessel status` says; 3, as not all is well."""
    command = [sys.executable, "-m", "vessel", "status", "--config", str(vessel.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    return done.stdout


async def _repairs(slate: Any, vessel: Any) -> None:
    slate.site.kubectl("delete", "configmap", "settings", "-n", slate.ns)
    await vessel.wait(lambda: slate.get("configmap", "settings"), "the ConfigMap is made again", seconds=20)


async def test_a_field_of_a_wrong_type_is_refused_with_its_place_and_drift_is_still_repaired(slate: Any) -> None:
    first = {
        "apps/web/app.yaml": slate.app(),
        "apps/web/ns.yaml": slate.namespace(),
        "apps/web/settings.yaml": slate.config_map("settings", colour="red"),
        "apps/web/web.yaml": slate.deployment("web"),
    }
    slate.repo.commit(first, "first")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    wrong = slate.deployment("web").replace("replicas: 1", "replicas: two")
    changed = {"apps/web/web.yaml": wrong, "apps/web/settings.yaml": slate.config_map("settings", colour="blue")}
    revision = slate.repo.commit(changed, "two")
    await vessel.wait_report(app="*", phase="refused", revision=revision, seconds=20)
    (body,) = [b for b in vessel.outbox() if b["revision"] == revision and b["phase"] == "refused"]
    (problem,) = body["problems"]
    assert problem["file"] == "apps/web/web.yaml"
    assert problem["line"] > 0
    assert problem["path"] == "spec.replicas"
    assert "expected numeric" in problem["cause"]
    assert slate.get("configmap", "settings")["data"] == {"colour": "red"}
    await vessel.wait(lambda: revision in status(vessel), "the status names the newest commit", seconds=20)
    assert f"refused      {revision}: nothing of it was applied" in status(vessel)
    assert f"! apps/web/web.yaml:{problem['line']}: " in status(vessel)
    await _repairs(slate, vessel)
    assert slate.get("configmap", "settings")["data"] == {"colour": "red"}


async def test_a_commit_that_cannot_be_judged_yet_waits_and_drift_is_still_repaired(slate: Any) -> None:
    real, kubectl = slate.kubectl_path, slate.folder / "kubectl"
    kubectl.symlink_to(real)
    slate.kubectl_path = kubectl
    slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/ns.yaml": slate.namespace(),
            "apps/web/settings.yaml": slate.config_map("settings", colour="red"),
        },
        "first",
    )
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    kubectl.unlink()
    revision = slate.repo.commit({"apps/web/kustomization.yaml": "resources: [ns.yaml, settings.yaml]\n"}, "kustomize")

    def waits() -> list[Any]:
        return [e for e in vessel.events() if e["event"] == "tries again" and e.get("revision") == revision]

    await vessel.wait(waits, "the commit waits")
    await _repairs(slate, vessel)
    kubectl.symlink_to(real)
    await vessel.wait_report(app="*", phase="healthy", revision=revision)
    assert len([b for b in vessel.outbox() if b["phase"] == "checking" and b["revision"] == revision]) <= 1
