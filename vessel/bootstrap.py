"""What Vessel needs in a cluster: its namespaces, accounts and rights, as objects. Pure.

Vessel's own account may write its Lease, its inventory, Events and which images it needs, all in `galley-system`, and
impersonate the service accounts that are named here, no others. `atlas-admin`, as whom apps are applied that name no
account of their own, is bound to cluster-admin: an Atlas decides what its cluster runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agents.contracts import images
from agents.core.ports import Object

SYSTEM = "galley-system"
DRYRUN = "galley-dryrun"
ACCOUNT = "vessel"
ADMIN = "atlas-admin"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/name": "vessel", "app.kubernetes.io/part-of": "galley"}


def _object(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Object:
    meta: dict[str, Any] = {"name": name, "labels": dict(_LABELS)}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def _account(namespace: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def _role_ref(kind: str, name: str) -> Object:
    return {"apiGroup": _RBAC, "kind": kind, "name": name}


def objects(*, accounts: Iterable[str] = (), users: Sequence[str] = ()) -> list[Object]:
    """All objects, in the order to apply them. `accounts`: further `namespace/name` that Vessel may impersonate;
    `users`: user names (of client certificates) that are Vessel's own, besides its service account."""
    subjects = [_account(SYSTEM, ACCOUNT)]
    subjects += [{"apiGroup": _RBAC, "kind": "User", "name": user} for user in users]
    rules = [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["vessel"],
            "verbs": ["get", "update", "patch"],
        },
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": ["get", "list", "create", "update", "delete"],
        },
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [images.WANTED],
            "verbs": ["create", "patch"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [images.NODES], "verbs": ["get"]},
    ]
    result = [
        _object("v1", "Namespace", SYSTEM),
        _object("v1", "Namespace", DRYRUN),
        _object("v1", "ServiceAccount", ACCOUNT, SYSTEM),
        _object("v1", "ServiceAccount", ADMIN, SYSTEM),
        _object(f"{_RBAC}/v1", "Role", ACCOUNT, SYSTEM, rules=rules),
        _object(f"{_RBAC}/v1", "RoleBinding", ACCOUNT, SYSTEM, subjects=subjects, roleRef=_role_ref("Role", ACCOUNT)),
        _object(
            f"{_RBAC}/v1",
            "ClusterRoleBinding",
            "galley-atlas-admin",
            subjects=[_account(SYSTEM, ADMIN)],
            roleRef=_role_ref("ClusterRole", "cluster-admin"),
        ),
    ]
    for namespace, names in sorted(_by_namespace([f"{SYSTEM}/{ADMIN}", *accounts]).items()):
        result += _impersonation(namespace, names, subjects)
    return result


def _by_namespace(accounts: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for account in accounts:
        namespace, _, name = account.partition("/")
        found.setdefault(namespace, set()).add(name)
    return {namespace: sorted(names) for namespace, names in found.items()}


def _impersonation(namespace: str, names: Sequence[str], subjects: Sequence[Object]) -> list[Object]:
    name = "vessel-impersonate"
    rule = {
        "apiGroups": [""],
        "resources": ["serviceaccounts"],
        "resourceNames": list(names),
        "verbs": ["get", "impersonate"],
    }
    return [
        _object(f"{_RBAC}/v1", "Role", name, namespace, rules=[rule]),
        _object(
            f"{_RBAC}/v1", "RoleBinding", name, namespace, subjects=list(subjects), roleRef=_role_ref("Role", name)
        ),
    ]
