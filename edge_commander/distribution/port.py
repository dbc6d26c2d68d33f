"""The `Distribution` port: what Edge Commander asks of a Kubernetes distribution on this node. Pure.

Every operation is level-triggered: asked again after a crash it looks first, and does only what is left to do.
Each raises Retryable while something may still come, and Rejected when it will not come by itself; an operation
that an implementation cannot do at all raises Unsupported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from agents.core.errors import Rejected, Retryable
from edge_commander.secrets.model import SiteSecrets


class Operation(StrEnum):
    """The port's operations, by name."""

    INIT = "init"
    JOIN = "join"
    MEMBERS = "members"
    REMOVE = "remove"
    HEALTH = "health"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    ROTATE = "rotate"
    UPGRADE = "upgrade"
    RESET = "reset"
    STOP = "stop"
    SNAPSHOTS = "snapshots"


class Unsupported(Rejected):
    """This distribution cannot do that, now or later."""

    def __init__(self, distribution: str, operation: Operation, why: str) -> None:
        super().__init__(f"{distribution} cannot {operation.value}: {why}")
        self.distribution = distribution
        self.operation = operation


@dataclass(frozen=True)
class NodeAccess:
    """All that a worker holds of its cluster, PEM: the `authority`'s certificate, and a `key` of its own with two
    certificates, which end soon: one is its `kubelet`'s first, the other lets its `commander` look at Nodes."""

    authority: str
    key: str = field(repr=False)
    kubelet: str
    commander: str


@dataclass(frozen=True)
class ClusterPlan:
    """What a new or existing cluster is to be. `epoch` rises with every cluster a site ever had.

    `node`: this node's name in Kubernetes. `address`: its own on the LAN, where one is to be named. `servers`: LAN
    addresses of those that are members already. `secrets`: the site's; placed before anything starts.
    `access`: this node is a worker, and has this in their place.
    """

    site: str
    epoch: int
    node: str
    servers: Sequence[str] = ()
    address: str = ""
    secrets: SiteSecrets | None = None
    access: NodeAccess | None = None


@dataclass(frozen=True)
class ClusterMember:
    """One node of the cluster as its API says. `server`: it carries the control plane."""

    name: str
    ready: bool
    server: bool
    version: str = ""
    addresses: Sequence[str] = ()


@dataclass(frozen=True)
class Snapshot:
    """A whole snapshot on this node's `keep`. `taken`: Unix s; `revision`: etcd's, 0 where it is not known; `bytes`: of
    its database. `secrets`: those that a cluster made of it must have, in its epoch; None where any will do."""

    path: str
    site: str
    epoch: int
    taken: int
    revision: int = 0
    bytes: int = 0
    secrets: SiteSecrets | None = None

    @property
    def age(self) -> tuple[int, int, int]:
        """Sorts by what it holds: a clock that was wrong makes none the newest."""
        return self.epoch, self.revision, self.taken


AUTO = "auto-"
"""Begins the names of snapshots that Edge Commander takes by itself."""
SPARE_BYTES = 64 * 1024 * 1024


def room(folder: str, needed: int, free: int) -> None:
    """Raises Retryable where a snapshot of `needed` bytes would fill the disk: logs lie beside it."""
    if free < needed + SPARE_BYTES:
        raise Retryable(f"{folder}: {free >> 20} MiB are free, a snapshot needs {(needed + SPARE_BYTES) >> 20}")


@dataclass(frozen=True)
class ClusterHealth:
    """`api`: the API server says it is ready. `problem`: why not, for people; empty when it is."""

    api: bool
    problem: str = ""


class Distribution(Protocol):
    """One Kubernetes distribution."""

    @property
    def name(self) -> str:
        """As in the configuration: `existing`, `k3s`, `kubeadm`."""

    async def init(self, plan: ClusterPlan) -> None:
        """Makes the first server of a new cluster. At most once per site and epoch, which the caller has made sure
        of; where this node already runs the cluster of `plan.epoch` it does nothing, of another epoch: Rejected."""

    async def join(self, plan: ClusterPlan) -> None:
        """Makes this node a member of the running cluster at `plan.servers`; nothing when it is one already. A worker
        is asked again when its server is gone: it then goes by the first of `plan.servers` that answers."""

    async def members(self) -> list[ClusterMember]:
        """Every member, sorted by name, as the cluster's API says now. Raises Retryable when it does not answer."""

    async def remove(self, member: str) -> None:
        """Takes a member out: etcd member first, then Node and node secrets. Nothing when it is not in.
        Rejected when the quorum would be lost."""

    async def health(self) -> ClusterHealth:
        """Whether the API server is ready. An unreachable one is an answer (`api` False), not an error; Rejected
        when this node may not ask (credentials, configuration)."""

    async def snapshot(self, name: str) -> str:
        """Saves the cluster's state with what is needed to restore it; returns its path. Raises when incomplete, and
        Retryable where the disk has no room for it. Of those called `auto-...` the oldest go."""

    async def snapshots(self) -> list[Snapshot]:
        """Those on this node that are whole, checked to the last byte, the newest first. Needs no cluster."""

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        """Makes a one-server cluster of `plan.epoch` out of a snapshot; the caller fences the old epoch first."""

    async def rotate(self, plan: ClusterPlan | None = None) -> None:
        """Renews the certificates on this node; keys of the site's CAs stay. With a plan, what this node runs by
        becomes that of `plan.secrets`, a later generation of the same epoch. Returns once this node is Ready."""

    async def upgrade(self, version: str) -> None:
        """Brings this node alone to `version`, and returns once it is Ready in it. Rejected when versions may not
        be skipped so."""

    async def stop(self) -> None:
        """Brings the cluster's part on this node down, and keeps it down over a boot, until `reset` or a wipe. Its data
        stay as they are. Nothing when there is none, or it is down."""

    async def reset(self) -> None:
        """Takes every trace of the cluster off this node; identity and roster stay. Nothing when there is none."""

    async def aclose(self) -> None:
        """Closes connections."""
