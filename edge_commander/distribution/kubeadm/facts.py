"""What was observed of this node and its cluster: the input of every plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_commander.distribution.kubeadm.steps import Marker


@dataclass(frozen=True)
class EtcdMember:
    """One member of etcd. `name` is empty while it was added and never started; `learner`: it has no vote."""

    ident: int
    name: str
    peers: Sequence[str] = ()
    clients: Sequence[str] = ()
    learner: bool = False


@dataclass(frozen=True)
class LocalFacts:
    """This node. `traces`: files of a cluster, whole or half made. `current`: the version that `current` points to.
    `stopped`: it was stopped, and is kept so."""

    marker: Marker | None = None
    traces: bool = False
    current: str = ""
    versions: Sequence[str] = ()
    stopped: bool = False


@dataclass(frozen=True)
class SeedFacts:
    """The running cluster, as a node sees it that is to join. `seed`: the server that answered; empty: none.

    `members`: of etcd, `nodes`: names of the Nodes; `version`: of its control plane, empty where it is not known.
    """

    seed: str = ""
    members: Sequence[EtcdMember] = ()
    nodes: Sequence[str] = ()
    version: str = ""


@dataclass(frozen=True)
class MemberFacts:
    """The running cluster, as one of its members sees it. `healthy`: names of etcd's members that answer."""

    own: str
    members: Sequence[EtcdMember] = ()
    healthy: Sequence[str] = ()
    nodes: Sequence[str] = ()
