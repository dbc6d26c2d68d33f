"""What manifests/ promises, read from the files: one source of Vessel's rights, confined pods, policies that select."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from agents.contracts.identity import Role
from edge_commander.settings import DEFAULT_ROLES
from vessel import bootstrap

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFESTS = ROOT / "manifests"
Object = dict[str, Any]
HOST_PATHS = {
    "heartbeat": {"/etc/galley", "/run/galley", "/var/lib/galley/heartbeat", "/usr/lib/os-release"},
    "vessel": {"/etc/galley", "/run/galley", "/var/lib/galley/vessel"},
    "synthetic-client": {"/etc/galley", "/run/galley", "/var/lib/galley/synthetic-client"},
}
ROLES = {"heartbeat": Role.HEARTBEAT, "vessel": Role.VESSEL, "synthetic-client": Role.SYNTHETIC}


def _objects() -> list[Object]:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return [one for name in listed for one in yaml.safe_load_all((MANIFESTS / name).read_text())]


def _key(one: Object) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _workloads() -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in _objects() if one["kind"] in ("DaemonSet", "Deployment")}


def _policies() -> list[Object]:
    return [one for one in _objects() if one["kind"] == "NetworkPolicy"]


def _selects(policy: Object, labels: dict[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    assert set(selector) <= {"matchLabels"}
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def test_every_file_is_listed_and_no_object_twice() -> None:
    listed = set(yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"])
    assert listed == {path.name for path in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    keys = [_key(one) for one in _objects()]
    assert len(keys) == len(set(keys))


def test_vessels_rights_are_those_that_bootstrap_gives() -> None:
    here = {_key(one): one for one in _objects()}
    given = {_key(one): one for one in bootstrap.objects()}
    for key, wanted in given.items():
        found = here[key]
        labels = found["metadata"]["labels"]
        assert wanted["metadata"]["labels"].items() <= labels.items(), key
        for part in ("apiVersion", "rules", "subjects", "roleRef"):
            assert found.get(part) == wanted.get(part), f"{key} {part}: write manifests/vessel-access.yaml anew"
    rights = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    of_vessel = {key for key, one in here.items() if key[0] in rights and "synthetic" not in key[2]}
    assert of_vessel == {key for key in given if key[0] in rights}


def test_one_workload_for_each_part_that_runs_as_pod() -> None:
    assert {name: one["kind"] for name, one in _workloads().items()} == {
        "heartbeat": "DaemonSet",
        "vessel": "DaemonSet",
        "synthetic-client": "Deployment",
    }


def test_pods_are_confined_and_run_as_the_uid_that_the_identity_socket_knows() -> None:
    for name, one in _workloads().items():
        pod = one["spec"]["template"]["spec"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert DEFAULT_ROLES[str(security["runAsUser"])] is ROLES[name]
        assert security["runAsGroup"] == security["runAsUser"]
        assert not {"hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert "ports" not in container


def test_pods_see_of_the_node_what_they_need_and_write_their_state_alone() -> None:
    for name, one in _workloads().items():
        pod = one["spec"]["template"]["spec"]
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
        assert set(paths.values()) == HOST_PATHS[name]
        for mount in pod["containers"][0]["volumeMounts"]:
            writable = not mount.get("readOnly", False)
            if mount["name"] in paths:
                assert writable == (paths[mount["name"]] == f"/var/lib/galley/{name}"), mount


def test_only_who_speaks_to_the_api_has_an_accounts_token() -> None:
    tokens = {
        name: one["spec"]["template"]["spec"].get("automountServiceAccountToken", True)
        for name, one in _workloads().items()
    }
    assert tokens == {"heartbeat": False, "vessel": True, "synthetic-client": True}


def test_a_node_says_once_which_form_of_vessel_it_runs() -> None:
    environment = {v["name"] for v in _workloads()["vessel"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "GALLEY_VESSEL__MODE" not in environment  # the node's galley.yaml decides, for unit and pod alike


def test_selectors_match_their_own_templates() -> None:
    for one in _workloads().values():
        wanted = one["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_default_deny_selects_every_pod_and_the_exception_its_own_alone() -> None:
    policies = {one["metadata"]["name"]: one for one in _policies()}
    assert set(policies) == {"default-deny", "synthetic-client"}
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in _workloads().items()}
    labels["stranger"] = {}
    assert {name for name, own in labels.items() if _selects(policies["default-deny"], own)} == set(labels)
    deny = policies["default-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    own = policies["synthetic-client"]["spec"]
    assert {name for name, of in labels.items() if _selects(policies["synthetic-client"], of)} == {"synthetic-client"}
    assert own["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in own
    assert {one["metadata"]["namespace"] for one in policies.values()} == {"galley-system"}
    assert all(rule.get("ports") for rule in own["egress"])


def test_namespaces_state_their_pod_security() -> None:
    levels = {
        one["metadata"]["name"]: one["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
        for one in _objects()
        if one["kind"] == "Namespace"
    }
    assert levels == {"galley-system": "privileged", "galley-synthetic": "restricted", "galley-dryrun": None}
