"""manifests/ on a real API server: accepted, and what each account may do, asked by impersonation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site_in_a_box.kube_control_plane import KubectlError
from tests.site_in_a_box.kube_site import KubeSite

MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
HEARTBEAT = "system:serviceaccount:galley-system:heartbeat"
NOBODY = "system:serviceaccount:default:nobody"
SYNTHETIC = "system:serviceaccount:galley-system:synthetic-client"
VESSEL = "system:serviceaccount:galley-system:vessel"
NAMESPACES = ("galley-system", "galley-synthetic", "galley-dryrun", "default", "kube-system")
Rule = tuple[str, str, str, str]
"""API group, resource, name (empty: any), verb."""


@pytest.fixture(scope="module")
def site(kube_binaries: Path, kube_folder: Path, etcd: object) -> Iterator[KubeSite]:
    """An API server of its own with manifests/ applied, as the documentation says: the dry run, then the real one."""
    with KubeSite("manifests", kube_folder / "manifests", etcd, controllers=False, binaries=kube_binaries) as site:  # type: ignore[arg-type]
        site.kubectl("apply", "-f", str(MANIFESTS / "namespace.yaml"), "-f", str(MANIFESTS / "vessel-access.yaml"))
        said = site.kubectl("apply", "-k", str(MANIFESTS), "--dry-run=server")
        assert "daemonset.apps/vessel created (server dry run)" in said
        site.kubectl("apply", "-k", str(MANIFESTS))
        yield site


def _rights(site: KubeSite, user: str, namespace: str) -> set[Rule]:
    """All that a user may do in a namespace, besides what every account may."""
    return _listed(site, user, namespace) - _listed(site, NOBODY, namespace)


def _listed(site: KubeSite, user: str, namespace: str) -> set[Rule]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = json.loads(
        site.kubectl("create", "--validate=false", "-f", "-", "-o", "json", f"--as={user}", stdin=json.dumps(review))
    )
    assert not answer["status"].get("incomplete")
    return {
        (group, resource, name, verb)
        for rule in answer["status"]["resourceRules"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    }


def _may(site: KubeSite, user: str, *what: str) -> bool:
    try:
        return site.kubectl("auth", "can-i", *what, f"--as={user}").strip() == "yes"
    except KubectlError as error:
        assert error.status == 1, error
        assert "error" not in error.said.lower(), error
        return False


def test_a_second_apply_changes_nothing(site: KubeSite) -> None:
    said = site.kubectl("apply", "-k", str(MANIFESTS)).splitlines()
    assert said
    assert [line for line in said if not line.endswith(" unchanged")] == []


def test_vessel_bootstrap_and_apply_do_not_fight(site: KubeSite) -> None:
    command = [sys.executable, "-m", "vessel", "bootstrap", "--kubeconfig", str(site.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = site.kubectl("apply", "-k", str(MANIFESTS)).splitlines()
    assert [line for line in said if not line.endswith(" unchanged")] == []
    labels = json.loads(site.kubectl("get", "namespace", "galley-system", "-o", "json"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_heartbeat_may_do_nothing(site: KubeSite, namespace: str) -> None:
    assert _rights(site, HEARTBEAT, namespace) == set()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_synthetic_client_may_touch_its_test_objects_alone(site: KubeSite, namespace: str) -> None:
    wanted = {("", "configmaps", "", verb) for verb in ("create", "get", "list", "delete")}
    assert _rights(site, SYNTHETIC, namespace) == (wanted if namespace == "galley-synthetic" else set())


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_vessels_own_account_writes_its_bookkeeping_alone(site: KubeSite, namespace: str) -> None:
    lease = {("coordination.k8s.io", "leases", "vessel", verb) for verb in ("get", "update", "patch")}
    wanted = {
        ("coordination.k8s.io", "leases", "", "create"),
        *lease,
        *(("", "secrets", "", verb) for verb in ("get", "list", "create", "update", "delete")),
        *((group, "events", "", verb) for group in ("", "events.k8s.io") for verb in ("create", "patch")),
        *(("", "serviceaccounts", "atlas-admin", verb) for verb in ("get", "impersonate")),
        *(("", "configmaps", "galley-images", verb) for verb in ("create", "patch")),
        ("", "configmaps", "galley-node-images", "get"),
    }
    assert _rights(site, VESSEL, namespace) == (wanted if namespace == "galley-system" else set())


def test_answers_of_can_i(site: KubeSite) -> None:
    assert _may(site, VESSEL, "impersonate", "serviceaccount/atlas-admin", "-n", "galley-system")
    assert not _may(site, VESSEL, "impersonate", "serviceaccount/default", "-n", "kube-system")
    assert not _may(site, VESSEL, "impersonate", "users")
    assert not _may(site, VESSEL, "impersonate", "groups")
    assert not _may(site, VESSEL, "create", "deployments", "-n", "galley-system")
    assert not _may(site, VESSEL, "update", "lease/other", "-n", "galley-system")
    assert not _may(site, SYNTHETIC, "get", "secrets", "-n", "galley-synthetic")
    assert _may(site, SYNTHETIC, "delete", "configmaps", "-n", "galley-synthetic")
    assert not _may(site, HEARTBEAT, "get", "nodes")


def test_the_synthetic_client_really_writes_reads_and_deletes(site: KubeSite) -> None:
    me, there = f"--as={SYNTHETIC}", ("-n", "galley-synthetic")
    site.kubectl("create", "configmap", "probe", "--from-literal=a=b", *there, me)
    assert site.kubectl("get", "configmap", "probe", "-o", "jsonpath={.data.a}", *there, me) == "b"
    site.kubectl("delete", "configmap", "probe", *there, me)
    with pytest.raises(KubectlError, match="forbidden"):
        site.kubectl("create", "configmap", "probe", "-n", "default", me)


def test_a_pod_of_the_restricted_namespace_cannot_be_privileged(site: KubeSite) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rogue", "namespace": "galley-synthetic"},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
    }
    site.kubectl("create", "serviceaccount", "default", "-n", "galley-synthetic")
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        site.kubectl("create", "-f", "-", stdin=json.dumps(pod))


def test_the_policies_are_kept_and_select_the_pods_that_they_mean(site: KubeSite) -> None:
    """By the API server's own reading of their selectors: all is denied, but the synthetic client's ways out."""
    policies = json.loads(site.kubectl("get", "networkpolicies", "-n", "galley-system", "-o", "json"))["items"]
    stored = {one["metadata"]["name"]: one["spec"] for one in policies}
    assert set(stored) == {"default-deny", "synthetic-client"}
    for spec in stored.values():
        assert spec["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in spec
    assert "egress" not in stored["default-deny"]
    ways = {port["port"] for rule in stored["synthetic-client"]["egress"] for port in rule["ports"]}
    assert ways == {53, 443, 1883, 6443, 8443, 8883}
    pods = {"stranger": {"app": "stranger"}}
    for kind, name in (("daemonset", "heartbeat"), ("daemonset", "vessel"), ("deployment", "synthetic-client")):
        found = json.loads(site.kubectl("get", kind, name, "-n", "galley-system", "-o", "json"))
        pods[name] = found["spec"]["template"]["metadata"]["labels"]
    site.kubectl("create", "serviceaccount", "default", "-n", "galley-system")
    for name, labels in pods.items():
        containers = [{"name": "c", "image": "i"}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"of-{name}", "labels": labels},
               "spec": {"containers": containers}}  # fmt: skip
        site.kubectl("create", "-n", "galley-system", "-f", "-", stdin=json.dumps(pod))
    selected = {name: _selected(site, spec["podSelector"].get("matchLabels", {})) for name, spec in stored.items()}
    assert selected == {"default-deny": {f"of-{name}" for name in pods}, "synthetic-client": {"of-synthetic-client"}}


def _selected(site: KubeSite, labels: dict[str, str]) -> set[str]:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    said = site.kubectl("get", "pods", "-n", "galley-system", "-l", selector, "-o", "name")
    return {line.partition("/")[2] for line in said.split()}
