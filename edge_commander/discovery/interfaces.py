"""Which of a machine's interfaces are its LAN, and its addresses there. Pure but for `look`, which asks the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_commander.discovery.hints import CLUSTERS, lan_address


@dataclass(frozen=True)
class Interface:
    """One interface of the machine and its addresses."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Lan:
    """`senders`: IPv4 addresses of the interfaces to speak on; `own`: this node's addresses, to be announced."""

    senders: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


def choose(interfaces: Iterable[Interface], named: Sequence[str] = ()) -> Lan:
    """The LAN. `named`: interfaces by name, and no other; empty: all but those that a cluster makes."""
    senders, own = [], []
    for one in sorted(interfaces, key=lambda one: one.name):
        if one.name not in named if named else one.name.startswith(CLUSTERS):
            continue
        addresses = [address for text in one.addresses if (address := lan_address(text))]
        four = [address for address in addresses if ":" not in address]
        senders += four[:1]
        own += addresses if four else []
    return Lan(tuple(senders), tuple(own[:8]))


def look() -> list[Interface]:
    """The interfaces of now."""
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        texts = (one.ip if isinstance(one.ip, str) else one.ip[0] for one in adapter.ips)
        found.append(Interface(str(adapter.name), tuple(texts)))
    return found
