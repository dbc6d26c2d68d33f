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
    if network.gateway is not None:
        gateway = address(network.gateway)
        if gateway is None:
            found.append("machine.network.gateway: must be an address")
        elif own is not None and gateway not in own.network:
            found.append(f"machine.network.gateway: {gateway} is not in {own.network}")
        elif own is not None and gateway == own.ip:
            found.append("machine.network.gateway: is this node's own address")
    for number, one in enumerate(network.dns):
        if address(one) is None:
            found.append(f"machine.network.dns[{number}]: must be an address")
    if network.address is None and (network.gateway is not None or network.dns):
        found.append("machine.network.address: is required where there is a gateway or dns")
    return found


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None
