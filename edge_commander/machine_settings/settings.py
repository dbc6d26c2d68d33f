"""The section `machine` of galley.yaml, which only the image reads. Pure."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

from agents.core.settings import address

Address = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}\Z", description="must be an address with its prefix, as 192.0.2.11/24"
    ),
]
Server = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-zA-Z][0-9a-zA-Z.:-]{0,252}\Z", description="must be a host name or an address")
]
Interface = Annotated[
    str,
    msgspec.Meta(pattern=r"^[0-9a-zA-Z*?._-]{1,32}\Z", description="must be the name of an interface, * and ? allowed"),
]
Vlan = Annotated[int, msgspec.Meta(ge=1, le=4094)]


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`network:`. `interface`: which wired one, by name or pattern. `address`: a fixed one with its prefix, else DHCP;
    `gateway`, `dns`: addresses, with a fixed one alone. `vlan`: the tag under which this node talks; without: none.
    """

    interface: Interface = "en*"
    address: Address | None = None
    gateway: str | None = None
    dns: Annotated[list[str], msgspec.Meta(max_length=8)] = []
    vlan: Vlan | None = None


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`machine:`, on a node of the NUC image. Without `network`: DHCP on every wired interface. `ntp`: time servers,
    else those that DHCP names, else Debian's."""

    network: NetworkSettings | None = None
    ntp: Annotated[list[Server], msgspec.Meta(max_length=8)] = []


def problems(machine: MachineSettings) -> list[str]:
    """What types alone do not show, each with its path."""
    network = machine.network
    if network is None:
        return []
    found = []
    own = _interface(network.address) if network.address is not None else None
    if network.address is not None and own is None:
        found.append("machine.network.address: must be an address with its prefix, as 192.0.2.11/24")
    if (
        own is not None
        and own.ip in (own.network.network_address, own.network.broadcast_address)
        and own.network.num_addresses > 2
    ):
        found.append(f"machine.network.address: {own.ip} is the network's or everybody's, not a machine's")
    elif own is not None and (own.ip.is_loopback or _nobodys(own.ip)):
        found.append(f"machine.network.address: {own.ip} is no machine's on a network")
    if network.gateway is not None and (why := _no_gateway(network.gateway, own)):
        found.append(f"machine.network.gateway: {why}")
    for number, one in enumerate(network.dns):
        if (server := address(one)) is None or _nobodys(server):
            found.append(f"machine.network.dns[{number}]: must be an address")
    if network.address is None and (network.gateway is not None or network.dns):
        found.append("machine.network.address: is required where there is a gateway or dns")
    return found


def _no_gateway(text: str, own: ipaddress.IPv4Interface | ipaddress.IPv6Interface | None) -> str:
    """Why it can be none for this node; empty where it can. One of IPv6 names no interface: networkd knows which."""
    gateway = address(text)
    if gateway is None or "%" in text or gateway.is_loopback or _nobodys(gateway):
        return "must be an address"
    # What most routers of IPv6 call themselves (RFC 4861, 4.2), whatever the network.
    if own is None or (gateway.version == own.version == 6 and gateway.is_link_local and gateway != own.ip):
        return ""
    if gateway not in own.network:
        return f"{gateway} is not in {own.network}"
    ends = (own.network.network_address, own.network.broadcast_address)
    if own.version == 4 and own.network.num_addresses > 2 and gateway in ends:
        return f"{gateway} is the network's or everybody's, not a machine's"
    return "is this node's own address" if gateway == own.ip else ""


def _nobodys(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether no single machine can have it: networkd would be told so by the kernel, and nobody by the screen."""
    return one.is_multicast or one.is_unspecified or one == ipaddress.IPv4Address("255.255.255.255")


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None
