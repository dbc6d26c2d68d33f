"""What an announcement on the LAN may become: a hint where a node may be, bounded and soon forgotten. Pure.

Anybody on the LAN may announce anything, so a hint is never more than an address to try: who answers there must prove
by the roster's key that it is that node. What is kept is bounded, and whoever was heard first and is heard still keeps
its place: a flood finds the table full.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated

import msgspec

from agents.contracts.ids import NODE_PATTERN, is_node_id

CLUSTERS = (
    "lo", "cni", "flannel", "cali", "tunl", "vxlan", "veth", "docker", "br-", "kube", "nodelocaldns", "cilium", "lxc",
    "virbr", "dummy", "wg", "tun",
)  # fmt: skip
"""What the names of interfaces begin with that a cluster or a tunnel makes: their networks are no LAN, and pods are on
them."""

SERVICE = "_galley._tcp.local."
"""The service's type (RFC 6763). An instance is called by its node id, and its host `<node id>.local.`"""
MAX_HINTS = 64
PER_NODE = 4
KEEP_SECONDS = 900.0
"""A hint that was not heard for so long is none any more."""
SILENT_SECONDS = 300.0
"""One that was not heard for so long (two questions went unanswered) gives its place to a newcomer."""
MAX_BYTES = 16 * 1024
LAN = tuple(ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
"""What may be an address on a restaurant's LAN: RFC 1918 and RFC 4193. Link-local ones need an interface's name
besides, which a roster has none of."""


class Hint(msgspec.Struct, frozen=True):
    """One node at one address. `seen`: monotonic s of this boot when it was heard last."""

    node: Annotated[str, msgspec.Meta(pattern=NODE_PATTERN)]
    address: Annotated[str, msgspec.Meta(max_length=45)]
    seen: Annotated[int, msgspec.Meta(ge=0)]


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """The file that the process leaves for the commander."""

    v: int = 1
    hints: Annotated[list[Hint], msgspec.Meta(max_length=MAX_HINTS)] = []


def lan_address(text: str) -> str:
    """The address as it is written by rule; empty where it is none of a LAN."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return ""
    return str(address) if any(address.version == net.version and address in net for net in LAN) else ""


def node_of_host(name: str) -> str:
    """The node id that a host's name on the LAN (`n-....local.`) names; empty where it names none."""
    node, _, rest = name.lower().partition(".")
    return node if rest == "local." and is_node_id(node) else ""


class HintTable:
    """What was heard, at most MAX_HINTS entries and PER_NODE of a node."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}

    def heard(self, node: str, address: str, now: float) -> bool:
        """Takes in one announcement, of whatever it says; True where the table has something new."""
        address = lan_address(address)
        if not address or not is_node_id(node):
            return False
        if (node, address) in self._seen:
            self._seen[node, address] = now
            return False
        self._forget(now)
        same = [key for key in self._seen if key[0] == node]
        rivals = same if len(same) >= PER_NODE else list(self._seen) if len(self._seen) >= MAX_HINTS else []
        if rivals:
            quietest = min(rivals, key=self._seen.__getitem__)
            if now - self._seen[quietest] < SILENT_SECONDS:
                return False
            del self._seen[quietest]
        self._seen[node, address] = now
        return True

    def without(self, node: str, now: float) -> Hints:
        """What is known of others than `node`."""
        self._forget(now)
        return Hints(hints=[Hint(n, address, int(seen)) for (n, address), seen in self._seen.items() if n != node])

    def _forget(self, now: float) -> None:
        for key in [key for key, seen in self._seen.items() if now - seen >= KEEP_SECONDS]:
            del self._seen[key]


def usable(hints: Sequence[Hint], node: str, now: float) -> tuple[str, ...]:
    """Addresses at which `node` may be, the last heard first, at most PER_NODE. Judged anew, as the process that wrote
    them may be in wrong hands: it reads what anybody sends."""
    mine = [one for one in hints if one.node == node and one.seen <= now + 1.0 and now - one.seen < KEEP_SECONDS]
    known = {address: None for one in sorted(mine, key=lambda one: -one.seen) if (address := lan_address(one.address))}
    return tuple(known)[:PER_NODE]
