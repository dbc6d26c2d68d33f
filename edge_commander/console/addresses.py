"""The machine's addresses on its LAN, out of the kernel's tables of routes as text: no socket is needed to read them.

Formats: proc_net(5) for `route` and `if_inet6`; `fib_trie` is the only table that names local IPv4 addresses. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from edge_commander.discovery.hints import CLUSTERS

MOST = 3
_UP, _GATEWAY = 0x1, 0x2
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")


@dataclass(frozen=True)
class _Route:
    interface: str
    network: ipaddress.IPv4Network
    metric: int
    direct: bool


def lan(route: str, fib_trie: str, if_inet6: str) -> tuple[str, ...]:
    """At most three, those on the way to the internet first; IPv6 where there is no IPv4. Interfaces that a cluster
    makes are left out, and so is what no interface reaches directly."""
    routes = _routes(route)
    ways = sorted((one for one in routes if one.network.prefixlen == 0), key=lambda one: one.metric)
    preferred = [one.interface for one in ways]
    found: list[tuple[int, int, str]] = []
    for text in dict.fromkeys(_LOCAL.findall(fib_trie)):
        address = ipaddress.IPv4Address(text)
        name = _interface_of(address, routes)
        if name and not address.is_loopback and not name.startswith(CLUSTERS):
            rank = preferred.index(name) if name in preferred else len(preferred)
            found.append((rank, int(address), text))
    return tuple(text for _, _, text in sorted(found)[:MOST]) or _six(if_inet6)


def _interface_of(address: ipaddress.IPv4Address, routes: list[_Route]) -> str:
    direct = [one for one in routes if one.direct and address in one.network]
    return max(direct, key=lambda one: one.network.prefixlen).interface if direct else ""


def _routes(text: str) -> list[_Route]:
    found = []
    for line in text.splitlines()[1:]:
        parts = line.split()
        try:
            name, destination, _, flags, _, _, metric, mask = parts[:8]
            network = ipaddress.IPv4Network((_number(destination), str(ipaddress.IPv4Address(_number(mask)))))
            bits = int(flags, 16)
            found.append(_Route(name, network, int(metric), bits & _UP != 0 and bits & _GATEWAY == 0))
        except ValueError:
            continue
    return found


def _number(text: str) -> int:
    """The table has it as the bytes lie in memory on this machine: the least significant first."""
    return int.from_bytes(bytes.fromhex(text), "little")


def _six(text: str) -> tuple[str, ...]:
    found = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 6 and parts[3] == "00" and not parts[5].startswith(CLUSTERS):
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(parts[0]))))
    return tuple(sorted(found)[:MOST])
