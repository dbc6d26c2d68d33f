"""Who votes in an epoch: a list fixed once, of nodes with the keys they then had; what a majority of it is. Pure.

A replaced or newly enrolled box has another key, so it is none of the voters of an epoch whose list was made before: it
may join the cluster, and never help to start a second one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from agents.contracts.identity import Voter
from agents.contracts.ids import NodeId, SiteId
from agents.core.errors import Rejected

Voters = tuple[Voter, ...]


@dataclass(frozen=True)
class Self:
    """This box: its site, its node id, and the thumbprint of its signing key (RFC 7638)."""

    site: SiteId
    node: NodeId
    kid: str


def canonical(voters: Iterable[Voter]) -> Voters:
    """By node id; raises Rejected where a node stands in it twice."""
    found = tuple(sorted(voters, key=lambda one: one.node))
    if len({one.node for one in found}) != len(found):
        raise Rejected("a node stands twice among the voters", path="voters")
    return found


@lru_cache(maxsize=64)
def digest(voters: Voters) -> str:
    """SHA-256 in hex over canonical voters, by which two boxes see that they mean the same ones."""
    text = msgspec.json.encode([(one.node, one.kid) for one in voters])
    return hashlib.sha256(b"galley-voters-v1\0" + text).hexdigest()


def majority(voters: Voters) -> int:
    """How many make a decision: any two majorities share a voter. Of no voters, none ever does."""
    return len(voters) // 2 + 1


def votes(voters: Voters, node: NodeId) -> bool:
    """Whether a node with this id is a voter (its key was checked by the channel, or is its own)."""
    return any(one.node == node for one in voters)


def is_voter(voters: Voters, me: Self) -> bool:
    """Whether this very box, with its key, is."""
    return Voter(node=me.node, kid=me.kid) in voters
