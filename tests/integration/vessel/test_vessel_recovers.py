"""The last word of a trouble that passed: a branch that came back, an object that may be deleted after all."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from typing import Any

import yaml


def whole(vessel: Any) -> list[tuple[str, str]]:
    """Phase and revision of every report of the whole Atlas, in order."""
    return [(body["phase"], body["revision"]) for body in vessel.outbox() if body.get("app") == "*"]


async def rename(slate: Any, old: str, new: str) -> None:
    """Renames the Atlas' branch where it is served."""
    command = ["git", "-C", str(slate.repo.bare), "branch", "-m", old, new]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=20)


async def test_a_branch_that_vanished_and_came_back(slate: Any) -> None:
    first = slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("m", size="1"),
        },
        "first",
    )
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)
    await rename(slate, "main", "elsewhere")
    report = await vessel.wait_report(app="*", phase="refused")
    assert "main" in str(report["problems"])
    assert report["revision"] == "", "no revision was refused"
    slate.site.kubectl("delete", "configmap", "m", "-n", slate.ns)
    await vessel.wait(lambda: slate.get("configmap", "m"), "made again meanwhile", seconds=10)
    await rename(slate, "elsewhere", "main")
    await vessel.wait(lambda: whole(vessel)[-1] == ("healthy", first), "says that all is well again", seconds=30)
    count = len(whole(vessel))
    await asyncio.sleep(2)
    assert len(whole(vessel)) == count, "says it once"


async def test_a_commit_that_stays_refused_is_named_again_after_git_was_away(slate: Any) -> None:
    """Also by the next process: the complaint was its predecessor's."""
    slate.repo.commit({"apps/web/app.yaml": slate.app(), "apps/web/ns.yaml": slate.namespace()}, "first")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    bad = slate.repo.commit({"apps/web/bad.yaml": "a: [\n"}, "bad")
    await vessel.wait_report(app="*", phase="refused", revision=bad)
    await rename(slate, "main", "elsewhere")
    await vessel.wait_report(app="*", phase="refused", revision="")
    vessel.kill()
    await rename(slate, "elsewhere", "main")
    vessel.start()
    await vessel.wait(lambda: whole(vessel)[-1] == ("refused", bad), "names the bad commit again", seconds=30)


async def test_a_clone_that_is_lost_is_fetched_again(slate: Any) -> None:
    """The newest revision is known, so no poll brings it: who needs it fetches it."""
    files = {"apps/web/app.yaml": slate.app(), "apps/web/all.yaml": slate.namespace()}
    first = slate.repo.commit({**files, "apps/web/m.yaml": slate.config_map("m", size="1")}, "first")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)
    vessel.kill()
    [clone] = vessel.state.glob("clone-*")
    shutil.rmtree(clone)
    slate.site.kubectl("delete", "configmap", "m", "-n", slate.ns)
    vessel.start()
    await vessel.wait(lambda: slate.get("configmap", "m"), "made again", seconds=20)


def guard(slate: Any, *, dry_runs_too: bool = False) -> str:
    """A policy that lets nobody delete the ConfigMap `kept`; a dry run of it passes unless told otherwise."""
    meta = {"name": f"kept.{slate.ns}"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}
    other = f"request.namespace != '{slate.ns}' || request.name != 'kept'"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": meta,
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {
                    "expression": other if dry_runs_too else f"{other} || request.dryRun",
                    "message": "kept for the auditors",
                }
            ],
        },
    }
    binding = {
        **policy,
        "kind": "ValidatingAdmissionPolicyBinding",
        "spec": {"policyName": meta["name"], "validationActions": ["Deny"]},
    }
    return yaml.safe_dump_all([policy, binding])


async def test_a_deletion_that_is_refused_stays_partial_and_is_tried_again(slate: Any) -> None:
    slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/all.yaml": slate.namespace(),
            **{f"apps/web/{name}.yaml": slate.config_map(name, size="1") for name in ("a", "b", "c", "kept", "gone")},
        },
        "first",
    )
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    policy = slate.folder / "policy.yaml"
    policy.write_text(guard(slate))
    slate.site.kubectl("apply", "-f", str(policy))
    try:
        await _until_guarded(slate)
        second = slate.repo.commit({"apps/web/kept.yaml": None, "apps/web/gone.yaml": None}, "two leave")
        report = await vessel.wait_report(app="*", phase="partial", revision=second)
        assert any("ConfigMap" in p and "kept" in p and "auditors" in p for p in report["problems"]), report
        bodies = [body for body in vessel.outbox() if body.get("revision") == second]
        assert [b["phase"] for b in bodies if b["app"] == "*"][-1] == "partial"
        [mine] = [b for b in bodies if b["app"] == "web" and b["phase"] == "partial"]
        assert bodies.index(mine) > max(i for i, b in enumerate(bodies) if b["phase"] == "healthy")
        assert mine["counts"]["pruned"] == 1
        assert mine["problems"][0]["object"] == f"ConfigMap {slate.ns}/kept"
        assert slate.names() == {f"configmap/{name}" for name in ("a", "b", "c", "kept")}
        assert _status(vessel) == 3
        assert not [b for b in bodies if "rolled back" in str(b["problems"])]
        # It goes on keeping what is applied, and the next process knows what is left.
        slate.site.kubectl("delete", "configmap", "a", "-n", slate.ns)
        await vessel.wait(lambda: slate.get("configmap", "a"), "made again", seconds=10)
        vessel.kill()
        policy.write_text(guard(slate, dry_runs_too=True))  # a retry that even the dry run refuses is the same trouble
        slate.site.kubectl("apply", "-f", str(policy))
        await _until_guarded(slate)
        count = len(vessel.reports(app="*", phase="partial"))
        vessel.start()
        await vessel.wait_report(app="*", phase="partial", revision=second, count=count + 1)
    finally:
        slate.site.kubectl("delete", "-f", str(policy), "--ignore-not-found")
    await vessel.wait_report(app="*", phase="healthy", revision=second, seconds=100)
    assert slate.names() == {f"configmap/{name}" for name in ("a", "b", "c")}
    assert [b["phase"] for b in vessel.outbox() if b.get("app") == "web"][-1] == "healthy"
    assert _status(vessel) == 0


async def _until_guarded(slate: Any) -> None:
    """A policy has an effect a moment after it was written."""
    for _ in range(100):
        done = await asyncio.to_thread(
            subprocess.run,
            [str(slate.kubectl_path), f"--kubeconfig={slate.site.kubeconfig}", "get", "--raw",
             f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/kept.{slate.ns}"],
            capture_output=True, timeout=20, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        if (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]:
            await asyncio.sleep(1.0)
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the policy has no effect")


def _status(vessel: Any) -> int:
    """The exit status of `vessel status`."""
    command = [sys.executable, "-m", "vessel", "status", "--config", str(vessel.config)]
    return subprocess.run(command, capture_output=True, timeout=30).returncode
