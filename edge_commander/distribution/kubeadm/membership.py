"""Who may leave the cluster, and in which order it is taken apart. Pure.

etcd's rule: a change needs a majority of those who are members now, and what is left must again have one
(etcd.io: Runtime reconfiguration).
"""

from __future__ import annotations

from agents.core.errors import Rejected
from edge_commander.distribution.kubeadm.facts import EtcdMember, MemberFacts
from edge_commander.distribution.kubeadm.steps import DeleteNode, RemoveEtcdMember, Step


def majority(members: int) -> int:
    """How many of `members` must agree."""
    return members // 2 + 1


def removal(member: str, facts: MemberFacts) -> list[Step]:
    """The steps that take `member` out: nothing when it is not in. Rejected when the quorum would be lost."""
    steps: list[Step] = []
    for one in [one for one in facts.members if is_of(one, member)]:
        if one.name == facts.own:
            raise Rejected("a node does not remove itself: ask another one, or reset it", obj=member)
        _keep_quorum(one, facts)
        steps.append(RemoveEtcdMember(member, one.ident))
    if member in facts.nodes:
        steps.append(DeleteNode(member))
    return steps


def is_of(one: EtcdMember, node: str) -> bool:
    """Whether an etcd member is the node's: kubeadm names members as nodes. One that never started has no name."""
    return one.name == node


def may_leave(own: str, facts: MemberFacts) -> bool:
    """Whether the cluster can do without this node, so that it may take itself out of etcd while it still can."""
    mine = [one for one in facts.members if one.name == own]
    if len(mine) != 1 or len(facts.members) == 1:
        return False
    try:
        _keep_quorum(mine[0], facts)
    except Rejected:
        return False
    return True


def _keep_quorum(leaving: EtcdMember, facts: MemberFacts) -> None:
    if leaving.learner:
        return  # it has no vote
    voters = [one for one in facts.members if not one.learner]
    healthy = [one for one in voters if one.name in facts.healthy]
    left = len([one for one in healthy if one.ident != leaving.ident])
    if len(voters) == 1:
        raise Rejected("it is the only member of etcd", obj=leaving.name)
    if len(healthy) < majority(len(voters)):
        raise Rejected(f"etcd has no quorum: {len(healthy)} of {len(voters)} members are healthy", obj=leaving.name)
    if left < majority(len(voters) - 1):
        raise Rejected(
            f"the quorum would be lost: {left} of {len(voters) - 1} members would be healthy", obj=leaving.name
        )
