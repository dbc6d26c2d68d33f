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

from agents.core.errors import Rejected
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
        """Saves the cluster's state with what is needed to restore it; returns its path. Raises when incomplete."""

    async def restore(self, snapshot: str, plan: ClusterPlan) -> None:
        """Makes a one-server cluster of `plan.epoch` out of a snapshot; the caller fences the old epoch first."""

    async def rotate(self) -> None:
        """Renews the certificates on this node; keys of the site's CAs stay."""

    async def upgrade(self, version: str) -> None:
        """Brings this node alone to `version`, and returns once it is Ready in it. Rejected when versions may not
        be skipped so."""

    async def reset(self) -> None:
        """Takes every trace of the cluster off this node; identity and roster stay. Nothing when there is none."""

    async def aclose(self) -> None:
        """Closes connections."""
