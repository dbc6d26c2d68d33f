"""What the scratch namespace could not show: a refusal in a namespace that is new in the commit."""

from __future__ import annotations

from typing import Any

import pytest
import yaml


def policy(slate: Any, namespace: str) -> str:
    """Lets nobody make the ConfigMap `denied` in one namespace: its dry run elsewhere passes."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    meta = {"name": f"denied.{slate.ns}"}
    expression = f"request.namespace != '{namespace}' || request.name != 'denied'"
    group = "admissionregistration.k8s.io/v1"
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    binding = {"policyName": meta["name"], "validationActions": ["Deny"]}
    return yaml.safe_dump_all(
        [
            {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": meta, "spec": spec},
            {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": meta, "spec": binding},
        ]
    )


@pytest.mark.parametrize("part", ["new", "runs"])
async def test_a_refusal_in_the_new_namespace_stops_its_app_and_rolls_back(slate: Any, part: str) -> None:
    """All of the app is asked about again before its first write: nothing of it is made, and what of it `runs`
    elsewhere is not touched."""
    other = f"{slate.ns}-b"
    file = slate.folder / "policy.yaml"
    file.write_text(policy(slate, other))
    slate.site.kubectl("apply", "-f", str(file))
    try:
        runs = {"apps/web/app.yaml": slate.app(), "apps/web/m.yaml": slate.config_map("m", size="1")}
        first = slate.repo.commit(
            {"apps/base/app.yaml": slate.app(stage=-1), "apps/base/ns.yaml": slate.namespace(), **runs}, "first"
        )
        vessel = slate.vessel().start()
        await vessel.wait_report(app="*", phase="healthy", revision=first)
        mark = slate.site.audit_mark()
        app = "web" if part == "runs" else "shop"
        maps = [slate.config_map(name, size="1") for name in ("a", "b", "denied")]
        added = [yaml.safe_dump(_moved(text, other)) for text in maps]
        second = slate.repo.commit(
            {
                "apps/base/other.yaml": slate.namespace(other),
                f"apps/{app}/app.yaml": slate.app(),
                f"apps/{app}/more.yaml": "---\n".join(added),
                "apps/web/m.yaml": slate.config_map("m", size="2" if part == "runs" else "1"),
            },
            "second",
        )
        report = await vessel.wait_report(app="*", phase="partial", revision=second)
        assert any(f"apps/{app}/more.yaml:" in p and "denied" in p for p in report["problems"]), report
        assert any(f"rolled back to {first}" in p for p in report["problems"])
        await vessel.wait(lambda: vessel.reports(app="*", revision=first)[1:], "back at the first commit")
        assert slate.names(other) == set()
        assert slate.get("configmap", "m")["data"] == {"size": "1"}
        patched = [
            (call.namespace, call.name)
            for call in slate.site.audit_calls(since=mark)
            if call.verb == "patch" and call.resource == "configmaps" and not call.dry_run
        ]
        assert patched == []
    finally:
        slate.site.kubectl("delete", "-f", str(file), "--ignore-not-found")
        slate.site.kubectl("delete", "namespace", other, "--wait=false", "--ignore-not-found")


def _moved(text: str, namespace: str) -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load(text)
    body["metadata"]["namespace"] = namespace
    return body
