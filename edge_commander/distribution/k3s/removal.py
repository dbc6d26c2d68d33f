"""Taking a member out: whether the quorum stands it, and by which steps. Pure.

etcd's member goes first, then the Node, then its password: a replacement of that name is refused while the old
password is there (k3s#6054). k3s itself takes the member out, asked by an annotation; a member without a Node goes by
etcd's API.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.core.errors import Rejected
from agents.core.ports import Object
from edge_commander.distribution.k3s import reference
from edge_commander.distribution.k3s.settings import K3sSettings
from edge_commander.distribution.k3s.steps import AskRemoval, DeleteObject, RemoveEtcdMember, Step

NODES = "/api/v1/nodes"
_SUFFIX = r"-[0-9a-f]{8}"
"""k3s names etcd's members after the Node, with eight digits of a UUID behind (etcd.go, setName)."""


@dataclass(frozen=True)
class EtcdMember:
    """`id` as text, as etcd's JSON has it; `name` is empty while a member was added and never started."""

    id: str
    name: str
    learner: bool = False


@dataclass(frozen=True)
class Membership:
    """What was observed: all Nodes, all members of etcd, and whether the leaving node's password is there."""

    nodes: Sequence[Object]
    etcd: Sequence[EtcdMember]
    password: bool


def plan_removal(own: str, leaving: str, seen: Membership, settings: K3sSettings) -> list[Step]:
    """Steps to take `leaving` out; empty when nothing of it is left. `own`: the node that does it."""
    if leaving == own:
        raise Rejected(f"{leaving} is this node itself: another member takes it out, and then it is reset")
    node = next((one for one in seen.nodes if name_of(one) == leaving), None)
    members = [one for one in seen.etcd if one.name in _member_names(leaving, node) or _is_of(one, leaving)]
    _quorum(leaving, members, seen)
    steps: list[Step] = []
    if node is not None and members and not annotation(node, "etcd-removed"):
        steps.append(AskRemoval(leaving, settings.command_seconds))
        members = [one for one in members if one.name != annotation(node, "etcd-member")]
    steps += [RemoveEtcdMember(one.id, one.name) for one in members]
    if node is not None:
        steps.append(DeleteObject(f"{NODES}/{leaving}"))
    if seen.password or node is not None:
        steps.append(DeleteObject(password_path(leaving)))
    return steps


def password_path(node: str) -> str:
    """The Secret that keeps the hash of a node's password."""
    secret = reference.name("password-secret").format(node=node).lower()
    return f"/api/v1/namespaces/{reference.name('password-namespace')}/secrets/{secret}"


def name_of(node: Object) -> str:
    """A Node's name."""
    return str((node.get("metadata") or {}).get("name", ""))


def annotation(node: Object, key: str) -> str:
    """An annotation of a Node, by its key in the reference; empty when it has none."""
    annotations = (node.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(reference.name(key), ""))


def is_ready(node: Object, version: str = "", *, network: bool = True) -> bool:
    """Ready (where `network`), in `version` where one is named, and no learner: the voter's condition may lack, but not
    be untrue."""
    status = node.get("status") or {}
    found = {str(c.get("type")): c.get("status") == "True" for c in status.get("conditions") or ()}
    same = not version or (status.get("nodeInfo") or {}).get("kubeletVersion") == version
    return same and (found.get("Ready", False) or not network) and found.get(reference.name("etcd-voter"), True)


def _member_names(leaving: str, node: Object | None) -> set[str]:
    return {name for name in (annotation(node, "etcd-member") if node else "",) if name}


def _is_of(one: EtcdMember, leaving: str) -> bool:
    return re.fullmatch(re.escape(leaving) + _SUFFIX, one.name) is not None


def _quorum(leaving: str, members: Sequence[EtcdMember], seen: Membership) -> None:
    going = {one.id for one in members}
    if not any(not one.learner for one in members):
        return
    stay = [one for one in seen.etcd if not one.learner and one.id not in going]
    if not stay:
        raise Rejected(f"{leaving} is the only voter of etcd: without it there is no cluster")
    healthy = {annotation(node, "etcd-member") for node in seen.nodes if is_ready(node)}
    well = sum(one.name in healthy for one in stay)
    if well < len(stay) // 2 + 1:
        raise Rejected(
            f"without {leaving} the quorum would be lost: {well} of the {len(stay)} other voters of etcd are Ready"
        )
