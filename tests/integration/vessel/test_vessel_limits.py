"""New kinds and namespaces, limited accounts, what does not become healthy, and life without Git."""

from __future__ import annotations

import time
from typing import Any

import yaml

GROUP = "kitchen.example"


def definition(slate: Any) -> str:
    """A CustomResourceDefinition `Recipe` of this test alone."""
    group = f"{slate.ns}.{GROUP}"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["minutes"],
                "properties": {"minutes": {"type": "integer", "minimum": 1}, "hot": {"type": "boolean"}},
            }
        },
    }
    return yaml.safe_dump(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"recipes.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": "Recipe", "plural": "recipes", "singular": "recipe"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        }
    )


def recipe(slate: Any, **spec: Any) -> str:
    """A Recipe."""
    api_version = f"{slate.ns}.{GROUP}/v1"
    return yaml.safe_dump({"apiVersion": api_version, "kind": "Recipe", "metadata": {"name": "soup"}, "spec": spec})


async def test_definition_and_object_and_namespace_in_one_commit(slate: Any) -> None:
    files = {
        "apps/menu/app.yaml": slate.app(),
        "apps/menu/ns.yaml": slate.namespace(),
        "apps/menu/crd.yaml": definition(slate),
        "apps/menu/soup.yaml": recipe(slate, minutes="long", cold=True),
    }
    bad = slate.repo.commit(files, "bad recipe")
    vessel = slate.vessel().start()
    report = await vessel.wait_report(app="*", phase="refused", revision=bad)
    assert any("soup.yaml:1" in p and "spec.minutes" in p and "integer" in p for p in report["problems"]), report
    assert any("spec.cold" in p for p in report["problems"])
    assert slate.get("namespace", slate.ns, "") is None
    good = slate.repo.commit({"apps/menu/soup.yaml": recipe(slate, minutes=20, hot=True)}, "good recipe")
    await vessel.wait_report(app="*", phase="healthy", revision=good)
    assert slate.get(f"recipes.{slate.ns}.{GROUP}", "soup")["spec"] == {"minutes": 20, "hot": True}
    slate.site.kubectl("delete", f"recipes.{slate.ns}.{GROUP}", "soup", "-n", slate.ns)
    await vessel.wait(lambda: slate.get(f"recipes.{slate.ns}.{GROUP}", "soup"), "made again", seconds=10)


async def test_an_app_is_limited_to_its_account(slate: Any) -> None:
    kubectl, ns = slate.site.kubectl, slate.ns
    kubectl("create", "namespace", ns)
    kubectl("create", "serviceaccount", "limited", "-n", ns)
    kubectl("create", "role", "maps", "-n", ns, "--verb=*", "--resource=configmaps")
    kubectl("create", "rolebinding", "maps", "-n", ns, "--role=maps", f"--serviceaccount={ns}:limited")
    account = f"{ns}/limited"
    files = {"apps/web/app.yaml": slate.app(serviceAccount=account), "apps/web/m.yaml": slate.config_map("m", size="1")}
    first = slate.repo.commit(files, "within its rights")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=first)
    slate.site.kubectl("delete", "configmap", "m", "-n", ns)
    await vessel.wait(lambda: slate.get("configmap", "m"), "made again", seconds=10)

    second = slate.repo.commit({"apps/web/web.yaml": slate.deployment("web")}, "beyond its rights")
    report = await vessel.wait_report(app="*", phase="refused", revision=second)
    assert any("deployments.apps" in p and "limited" in p and "forbidden" in p for p in report["problems"]), report
    assert slate.get("deployment", "web") is None

    files = {"apps/web/app.yaml": slate.app(serviceAccount=f"{ns}/nobody"), "apps/web/web.yaml": None}
    third = slate.repo.commit(files, "an account that is not there")
    report = await vessel.wait_report(app="*", phase="refused", revision=third)
    assert any(f"service account {ns}/nobody does not exist" in p for p in report["problems"]), report


async def test_what_does_not_become_healthy_is_rolled_back_and_quarantined(slate: Any) -> None:
    files = {
        "apps/web/app.yaml": slate.app(timeout_seconds=4),
        "apps/web/all.yaml": slate.namespace() + "---\n" + slate.deployment("web"),
        "apps/web/m.yaml": slate.config_map("m", size="1"),
        "apps/zeta/app.yaml": slate.app(stage=5),
        "apps/zeta/z.yaml": slate.config_map("z", size="1"),
    }
    good = slate.repo.commit(files, "good")
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy", revision=good)
    bad = slate.repo.commit(
        {
            "apps/web/all.yaml": slate.namespace() + "---\n"
            + slate.deployment("web", nodeSelector={"kubernetes.io/hostname": "nowhere"}),
            "apps/web/extra.yaml": slate.config_map("extra", size="1"),
            "apps/zeta/z.yaml": slate.config_map("z", size="2"),
        },
        "bad",
    )  # fmt: skip
    report = await vessel.wait_report(app="*", phase="degraded", revision=bad)
    assert any("rolled back to " + good in p for p in report["problems"])
    assert any("apps/web/all.yaml" in p and "web" in p for p in report["problems"]), report
    await vessel.wait_report(app="*", phase="healthy", revision=good, count=2)
    assert slate.names() == {"deployment/web", "configmap/m", "configmap/z"}
    assert slate.get("configmap", "z")["data"] == {"size": "1"}, "a later stage was applied"
    assert "nodeSelector" not in slate.get("deployment", "web")["spec"]["template"]["spec"]

    vessel.kill()  # the quarantine outlives the process
    count = len(vessel.reports(app="*"))
    vessel.start()
    await vessel.wait(
        lambda: len([e for e in vessel.events() if e["event"] == "applied"]) >= 3, "at the good one again"
    )
    assert all(report["revision"] == good for report in vessel.reports(app="*")[count:])
    newer = slate.repo.commit({"apps/web/all.yaml": slate.namespace() + "---\n" + slate.deployment("web", 2)}, "newer")
    await vessel.wait_report(app="*", phase="healthy", revision=newer)
    assert slate.get("configmap", "z")["data"] == {"size": "2"}


async def test_without_git_it_keeps_what_was_applied(slate: Any) -> None:
    slate.repo.commit(
        {
            "apps/web/app.yaml": slate.app(),
            "apps/web/all.yaml": slate.namespace() + "---\n" + slate.config_map("m", size="1"),
        },
        "first",
    )
    vessel = slate.vessel().start()
    await vessel.wait_report(app="*", phase="healthy")
    gone = slate.repo.bare.with_name("gone.git")
    slate.repo.bare.rename(gone)
    vessel.kill()
    slate.site.kubectl("delete", "configmap", "m", "-n", slate.ns)
    began = time.monotonic()
    vessel.start()
    await vessel.wait(lambda: slate.get("configmap", "m"), "made again without Git", seconds=20)
    slate.site.kubectl("patch", "configmap", "m", "-n", slate.ns, "-p", '{"data":{"size":"7"}}')
    await vessel.wait(lambda: slate.get("configmap", "m")["data"] == {"size": "1"}, "undone without Git", seconds=10)
    assert time.monotonic() - began < 30
    gone.rename(slate.repo.bare)
    second = slate.repo.commit({"apps/web/m2.yaml": slate.config_map("m2", size="1")}, "Git is back")
    await vessel.wait_report(app="*", phase="healthy", revision=second, seconds=60)
