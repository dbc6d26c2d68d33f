"""After a node became a member, and at each start: the suite's accounts, and the daemons' access. Touches the cluster.

Idempotent, and done by every member: whoever is first makes the accounts, the others find them as they are.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Object
from edge_commander.distribution.grants import WORKER, write_access, write_worker_access
from edge_commander.distribution.kubeadm.certs import client
from edge_commander.distribution.kubeadm.config import kubeconfig
from edge_commander.distribution.port import ClusterPlan
from edge_commander.images.access import image_rights
from edge_commander.settings import DistributionSettings

BOOTSTRAP_SECONDS = 120.0
BOOTSTRAP = (sys.executable, "-I", "-m", "vessel.cli_bootstrap")
"""`vessel bootstrap` without what Vessel's daemon imports besides: every member pays for it, at each start."""
USER = "galley-commander"
VESSEL_USER = "galley-vessel"
APPLY = "application/apply-patch+yaml"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/part-of": "galley", "app.kubernetes.io/name": "edge-commander"}


def rights() -> list[tuple[str, Object]]:
    """What the commander's own user may do: list Nodes, the Leases of whose turn it is to join, to be upgraded, to
    renew and to be wiped, and to empty its node first: cordon, list pods, evict. No pod is read alone, changed or
    deleted past its disruption budget. Path and object."""

    def named(kind: str, name: str, **rest: Any) -> Object:
        version = f"{_RBAC}/v1"
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(_LABELS)}, **rest}

    subject = [{"apiGroup": _RBAC, "kind": "User", "name": USER}]
    lookers = [*subject, {"apiGroup": _RBAC, "kind": "User", "name": WORKER}]
    base = f"/apis/{_RBAC}/v1"
    nodes = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    ]
    leases = [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"],
         "resourceNames": ["galley-join", "galley-rotation", "galley-upgrade", "galley-wipe"]},
    ]  # fmt: skip
    role = {"apiGroup": _RBAC, "name": USER}
    local = f"{base}/namespaces/kube-system"
    return [
        (f"{base}/clusterroles/{USER}", named("ClusterRole", USER, rules=nodes)),
        (f"{base}/clusterrolebindings/{USER}",
         named("ClusterRoleBinding", USER, roleRef={**role, "kind": "ClusterRole"}, subjects=lookers)),
        (f"{local}/roles/{USER}", named("Role", USER, rules=leases)),
        (f"{local}/rolebindings/{USER}",
         named("RoleBinding", USER, roleRef={**role, "kind": "Role"}, subjects=subject)),
    ]  # fmt: skip


async def settle(
    plan: ClusterPlan,
    settings: DistributionSettings,
    connect: Callable[[Path], Awaitable[Any]],
    command: Sequence[str] = (),
) -> list[str]:
    """All of it; paths of the kubeconfigs. `command`: `vessel bootstrap` of this suite. Raises Retryable, Rejected.

    What administers the cluster for a moment is a kubeconfig of two hours in a folder of its own, gone when it ends.
    """
    if plan.access is not None:
        return await asyncio.to_thread(write_worker_access, plan, settings)
    if plan.secrets is None or not plan.address:
        raise Rejected("the plan names no secrets or no address")
    with tempfile.TemporaryDirectory(prefix="galley-settle-") as folder:
        admin = Path(folder) / "kubeconfig"
        made = client(plan.secrets.cluster, "galley-settler", "system:masters")
        server = f"https://{plan.address}:6443"
        admin.write_bytes(
            kubeconfig(server, "galley-settler", ca=plan.secrets.cluster.cert, cert=made.cert, key=made.key)
        )
        await _apply(admin, connect, rights())
        await _bootstrap(admin, tuple(command) or BOOTSTRAP)
        await _apply(admin, connect, image_rights(USER))  # in the namespace that was made just now
    return await asyncio.to_thread(write_access, plan, settings)


async def _apply(admin: Path, connect: Callable[[Path], Awaitable[Any]], objects: Sequence[tuple[str, Object]]) -> None:
    kube = await connect(admin)
    try:
        for path, body in objects:
            params = {"fieldManager": "galley-edge-commander", "force": "true"}
            await kube.request("PATCH", path, params=params, body=body, content_type=APPLY)
    finally:
        await kube.aclose()


async def _bootstrap(admin: Path, command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, "--kubeconfig", str(admin), "--user", VESSEL_USER,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(BOOTSTRAP_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        raise Retryable("vessel bootstrap: not in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise Retryable(f"vessel bootstrap ended with {process.returncode}: {last[0][:300]}")
