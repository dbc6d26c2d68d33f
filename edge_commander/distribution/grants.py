"""Touches the kubeconfigs of the suite's daemons: each its own user of the cluster, in a file that only it can read."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm.certs import client
from edge_commander.distribution.kubeadm.config import kubeconfig
from edge_commander.distribution.port import ClusterPlan
from edge_commander.settings import DistributionSettings

WORKER = "galley-worker"
"""The user of every worker's commander: it may look at Nodes."""
LIFE = datetime.timedelta(days=400)
"""Written anew at each start of the node, and long enough that a node which is never restarted works on."""


@dataclass(frozen=True)
class Grant:
    """A daemon's file, its system user, and its user in Kubernetes, whose rights are RBAC's alone."""

    file: str
    system_user: str
    user: str


GRANTS = (
    Grant("edge-commander.kubeconfig", "galley-commander", "galley-commander"),
    Grant("vessel.kubeconfig", "galley-vessel", "galley-vessel"),
    Grant("synthetic-client.kubeconfig", "galley-synthetic", "galley-synthetic"),
)


def write_access(plan: ClusterPlan, settings: DistributionSettings) -> list[str]:
    """Writes every file anew; their paths. Raises Rejected for a plan without secrets, Retryable for the disk."""
    if plan.secrets is None or not plan.address:
        raise Rejected("the plan names no secrets or no address")
    folder = Path(settings.access_dir)
    server = f"https://{plan.address}:6443"
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # whatever the umask: each file in it is one daemon's alone
        for grant in GRANTS:
            made = client(plan.secrets.cluster, grant.user, life=LIFE)
            text = kubeconfig(server, grant.user, ca=plan.secrets.cluster.cert, cert=made.cert, key=made.key)
            _replace(folder / grant.file, text, grant.system_user)
            written.append(str(folder / grant.file))
    except OSError as error:
        raise Retryable(f"{folder}: cannot be written: {error.strerror}") from None
    return written


def write_worker_access(plan: ClusterPlan, settings: DistributionSettings) -> list[str]:
    """A worker's: for its commander alone, which goes by the control plane's name, as the kubelet does."""
    if plan.access is None or settings.kind != "kubeadm":
        raise Rejected("the plan is not one of a worker that can be made here")
    folder, grant = Path(settings.access_dir), GRANTS[0]
    server = f"https://{settings.kubeadm.endpoint_name}:6443"
    text = kubeconfig(server, WORKER, ca=plan.access.authority, cert=plan.access.commander, key=plan.access.key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        _replace(folder / grant.file, text, grant.system_user)
    except OSError as error:
        raise Retryable(f"{folder}: cannot be written: {error.strerror}") from None
    return [str(folder / grant.file)]


def _replace(path: Path, text: bytes, user: str) -> None:
    """The owner first, then the content, then the name: never a moment in which another may read it."""
    import pwd

    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    try:
        try:
            entry = pwd.getpwnam(user)
            os.fchown(descriptor, entry.pw_uid, entry.pw_gid)
        except KeyError:
            pass  # a machine without the suite's users: it stays root's
        view = memoryview(text)
        while view:  # a disk that is nearly full takes a part, and half a kubeconfig is none
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
    temporary.replace(path)
