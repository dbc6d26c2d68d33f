"""What Edge Commander's own user may do so that images are pulled ahead, as objects. Pure.

It reads what Vessel asks for, and writes one ConfigMap, which is made here: nothing else of that namespace.
"""

from __future__ import annotations

from typing import Any

from agents.contracts.images import NAMESPACE, NODES, WANTED
from agents.core.ports import Object

NAME = "galley-commander-images"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/part-of": "galley", "app.kubernetes.io/name": "edge-commander"}


def image_rights(user: str) -> list[tuple[str, Object]]:
    """Path and object, in the order to apply them. `galley-system` must be there."""

    def named(version: str, kind: str, name: str, **rest: Any) -> Object:
        meta = {"name": name, "namespace": NAMESPACE, "labels": dict(_LABELS)}
        return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}

    def maps(name: str, *verbs: str) -> dict[str, list[str]]:
        return {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": list(verbs)}

    rules = [maps(WANTED, "get"), maps(NODES, "get", "patch")]
    subjects = [{"apiGroup": _RBAC, "kind": "User", "name": user}]
    role = {"apiGroup": _RBAC, "kind": "Role", "name": NAME}
    local = f"/apis/{_RBAC}/v1/namespaces/{NAMESPACE}"
    return [
        (f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NODES}", named("v1", "ConfigMap", NODES)),
        (f"{local}/roles/{NAME}", named(f"{_RBAC}/v1", "Role", NAME, rules=rules)),
        (f"{local}/rolebindings/{NAME}",
         named(f"{_RBAC}/v1", "RoleBinding", NAME, roleRef=role, subjects=subjects)),
    ]  # fmt: skip
