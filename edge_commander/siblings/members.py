"""Which members of a roster can be siblings, by their signing keys, and where they listen. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId, is_node_id
from agents.core.errors import Rejected
from agents.core.jose import Jwk, SignatureRefused, canonical
from agents.core.settings import address

Keys = tuple[tuple[NodeId, tuple[str, str]], ...]
"""Node and its signing key's coordinates, sorted: equal when the same nodes with the same keys are trusted."""

_PLACE = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::(?P<sixport>\d{1,5}))?|(?P<host>[^:\[\]]+)(?::(?P<port>\d{1,5}))?")


def signing_key(member: Member) -> Jwk | None:
    """The member's signing key, canonical; None where the roster names none on P-256, or the node id is none."""
    if not is_node_id(member.node):
        return None
    try:
        key = canonical(member.signing)
    except SignatureRefused:
        return None
    return key if key["crv"] == "P-256" else None


def find(roster: Iterable[Member], node: NodeId) -> Member | None:
    """The one member of that id whose key can be used; None when there is none, or more than one."""
    found = [member for member in roster if member.node == node]
    return found[0] if len(found) == 1 and signing_key(found[0]) is not None else None


def trusted_keys(roster: Sequence[Member]) -> Keys:
    """Every usable member with its key. An id that stands twice in the roster is no member at all."""
    usable = [(member, key) for member in roster if (key := signing_key(member)) is not None]
    return tuple(sorted((m.node, (k["x"], k["y"])) for m, k in usable if find(roster, m.node) is not None))


def place(member: Member, port: int) -> tuple[str, int]:
    """IP address and port of a member's channel. `Member.address` is an IP address, or one with a port of its own
    (`10.0.0.3:9500`, `[fd00::3]:9500`). Raises Rejected for anything else: no name is looked up."""
    if (bare := address(member.address)) is not None:
        return str(bare), port
    if (found := _PLACE.fullmatch(member.address)) is not None:
        own, there = int(found["sixport"] or found["port"] or port), address(found["six"] or found["host"])
        if there is not None and 0 < own < 65536:
            return str(there), own
    raise Rejected(f"the roster's address of {member.node} is no IP address")
