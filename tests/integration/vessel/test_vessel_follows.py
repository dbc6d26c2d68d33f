"""A real Vessel against a real API server: it applies, changes, prunes, refuses, and repairs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

AGENT = "galley-vessel"


def calls(slate: Any, since: int) -> list[Any]:
    """Vessel's API calls since the mark."""
    return [call for call in slate.site.audit_calls(since=since) if call.user_agent.startswith(AGENT)]


def writes(slate: Any, since: int) -> list[tuple[str, str, str]]:
    """Its calls that changed something, those of its own bookkeeping left out."""
    return [
        (call.verb, call.resource, call.name)
        for call in calls(slate, since)
        if call.verb in ("create", "update", "patch", "delete")
        and not call.dry_run
        and call.namespace != "galley-system"
    ]


async def test_applies_a_change_alone_and_rests(slate: Any) -> None:
    slate.repo.commit(
        {
            "apps/base/app.yaml": slate.app(stage=-1),
            "apps/base/ns.yaml": slate.namespace(),
            "apps/web/app.yaml": slate.app(),
            "apps/web/web.yaml": slate.deployment("web", 2),
            "apps/web/settings.yaml": slate.config_map("settings", colour="red"),
        },
        "first",
    )
    vessel = slate.vessel().start()
    first = await vessel.wait_report(app="*", phase="healthy")
    assert slate.get("deployment", "web")["status"]["availableReplicas"] == 2
    assert slate.get("configmap", "settings")["data"] == {"colour": "red"}

    mark = slate.site.audit_mark()
    second = slate.repo.commit({"apps/web/settings.yaml": slate.config_map("settings", colour="blue")}, "second")
    await vessel.wait_report(app="*", phase="healthy", revision=second)
    assert slate.get("configmap", "settings")["data"] == {"colour": "blue"}
    assert writes(slate, mark) == [("patch", "configmaps", "settings")]
    assert first["revision"] != second
    phases = [(body["app"], body["phase"]) for body in vessel.outbox() if body["revision"] == second]
    assert phases[:1] == [("*", "checking")]
    assert phases[-1:] == [("*", "healthy")]
    assert sorted(phases[1:-1]) == [("base", "healthy"), ("web", "applying"), ("web", "healthy")]

    await asyncio.sleep(0.5)
    mark, disk = slate.site.audit_mark(), _disk(vessel)
    await asyncio.sleep(8)  # 40 polls
    rest = calls(slate, mark)
    assert {(call.verb, call.resource) for call in rest} <= {("update", "leases.coordination.k8s.io")}, rest
    assert 2 <= len(rest) <= 4
    assert _disk(vessel) == disk


def _disk(vessel: Any) -> dict[str, tuple[int, int]]:
    """What is on disk, with times of change; the outbox's shared memory is no disk."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in vessel.state.rglob("*")
        if not path.name.endswith("-shm")
    }


async def test_drift_is_undone_within_two_seconds(slate: Any) -> None:
    slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/all.yaml": slate.namespace() + "---\n" + slate.deployment("web", 1) + "---\n"
            + slate.config_map("settings", colour="red", size="1"),
        },
        "first",
    )  # fmt: skip
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    kubectl, ns = slate.site.kubectl, slate.ns

    async def undone(probe: Any, what: str) -> float:
        began = time.monotonic()
        await vessel.wait(probe, what, seconds=10)
        return time.monotonic() - began

    took = []
    kubectl("scale", "deployment/web", "-n", ns, "--replicas=5")
    took.append(await undone(lambda: slate.get("deployment", "web")["spec"]["replicas"] == 1, "replicas undone"))
    kubectl("patch", "configmap", "settings", "-n", ns, "-p", '{"data":{"colour":"green","size":null}}')
    took.append(
        await undone(
            lambda: slate.get("configmap", "settings")["data"] == {"colour": "red", "size": "1"}, "data undone"
        )
    )
    kubectl("delete", "deployment", "web", "-n", ns)
    took.append(await undone(lambda: slate.get("deployment", "web"), "made again"))
    kubectl("label", "configmap", "settings", "-n", ns, "vessel.galley/app-")
    took.append(
        await undone(
            lambda: slate.get("configmap", "settings")["metadata"]["labels"].get("vessel.galley/app") == "web", "label"
        )
    )
    assert max(took) < 2.0, took
    repaired = [body for body in vessel.outbox() if body["phase"] == "repaired"]
    assert len(repaired) >= 4
    assert all(body["problems"][0]["file"] == "apps/web/all.yaml" and body["problems"][0]["line"] for body in repaired)

    mark = slate.site.audit_mark()
    kubectl("annotate", "configmap", "settings", "-n", ns, "somebody/else=1")  # not ours: left alone
    await asyncio.sleep(1.5)
    assert writes(slate, mark) == []


async def test_a_broken_manifest_refuses_the_whole_commit(slate: Any) -> None:
    good = {
        "apps/web/app.yaml": slate.app(),
        "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("settings", colour="red"),
    }
    first = slate.repo.commit(good, "good")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)
    before = slate.get("configmap", "settings")["metadata"]["resourceVersion"]
    mark = slate.site.audit_mark()
    bad = slate.repo.commit(
        {
            "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("settings", colour="BLUE"),
            "apps/web/bad.yaml": slate.deployment("web").replace("replicas: 1", "replicas: -1"),
            "apps/web/odd.yaml": "apiVersion: nowhere/v1\nkind: Nothing\nmetadata: {name: x}\n",
        },
        "bad <script>alert(1)</script>",
    )
    report = await vessel.wait_report(app="*", phase="refused", revision=bad)
    assert any("apps/web/odd.yaml:1" in problem and "Nothing" in problem for problem in report["problems"])
    worse = slate.repo.commit({"apps/web/odd.yaml": None}, "still bad")
    report = await vessel.wait_report(app="*", phase="refused", revision=worse)
    assert any("apps/web/bad.yaml:1" in problem and "spec.replicas" in problem for problem in report["problems"]), (
        report
    )
    assert writes(slate, mark) == []
    assert slate.get("configmap", "settings")["metadata"]["resourceVersion"] == before
    # What was applied is still kept.
    slate.site.kubectl("delete", "configmap", "settings", "-n", slate.ns)
    await vessel.wait(lambda: slate.get("configmap", "settings"), "made again", seconds=10)
    assert slate.get("configmap", "settings")["data"] == {"colour": "red"}
    slate.repo.commit({"apps/web/bad.yaml": None}, "good again")
    await vessel.wait(lambda: slate.get("configmap", "settings")["data"] == {"colour": "BLUE"}, "applied")


async def test_prunes_within_the_cap_and_holds_beyond(slate: Any) -> None:
    maps = {f"apps/web/m{n}.yaml": slate.config_map(f"m{n}", n=str(n)) for n in range(6)}
    base = {"apps/base/app.yaml": slate.app(stage=-1), "apps/base/ns.yaml": slate.namespace()}
    slate.repo.commit({**base, "apps/web/app.yaml": slate.app(), **maps}, "six")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")

    five = slate.repo.commit({"apps/web/m5.yaml": None}, "five")
    await vessel.wait_report(app="*", phase="healthy", revision=five)
    assert slate.names() == {f"configmap/m{n}" for n in range(5)}

    two = slate.repo.commit({f"apps/web/m{n}.yaml": None for n in (2, 3, 4)}, "two")
    report = await vessel.wait_report(app="web", phase="prune-held", revision=two)
    assert any(f"approve: {{prune: {two}}}" in problem for problem in report["problems"])
    assert len(slate.names()) == 5

    word = slate.repo.commit({"apps/web/app.yaml": slate.app(approve={"prune": two})}, "a person's word")
    await vessel.wait_report(app="*", phase="healthy", revision=word)
    assert slate.names() == {"configmap/m0", "configmap/m1"}

    none = slate.repo.commit(
        {"apps/web/m0.yaml": None, "apps/web/m1.yaml": None, "apps/web/app.yaml": None}, "app gone"
    )
    await vessel.wait_report(app="web", phase="prune-held", revision=none)
    assert slate.names() == {"configmap/m0", "configmap/m1"}

    empty = slate.repo.commit({"apps/base/app.yaml": None, "apps/base/ns.yaml": None, "README": "nothing"}, "empty")
    report = await vessel.wait_report(app="*", phase="refused", revision=empty)
    assert "nothing is deleted" in str(report["problems"])
    assert slate.names() == {"configmap/m0", "configmap/m1"}
    assert slate.get("namespace", slate.ns, "")["status"]["phase"] == "Active"
