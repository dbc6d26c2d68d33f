"""What the section `machine` becomes: files of systemd-networkd and systemd-timesyncd, and containerd's proxy. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agents.core.proxy import environment
from agents.core.settings import EndpointSettings
from edge_commander.machine_settings.settings import MachineSettings, NetworkSettings

NETWORK = "systemd/network/"
TIME = "systemd/timesyncd.conf.d/galley.conf"
PROXY = "galley/proxy.env"
VLAN = "galley-vlan"
OWN = (
    f"{NETWORK}10-galley.network",
    f"{NETWORK}10-galley-vlan.netdev",
    f"{NETWORK}11-galley-vlan.network",
    TIME,
    PROXY,
)
"""All that may be written, below /etc; what is not written now is removed."""
CODE = "enrol-code"
READERS = {
    "vessel": "galley-vessel",
    "heartbeat": "galley-heartbeat",
    "synthetic": "galley-synthetic",
    "commander": "galley-commander",
}
HEAD = "# Made from galley.yaml's section `machine`.\n"
HEAD_PROXY = "# Made from galley.yaml's `endpoint.proxy`.\n"


def reader_of(name: str) -> str | None:
    """The one user that may read that file of a medium, by the daemon that its name begins with (`vessel.kubeconfig`,
    `commander.kubeconfig`), as what is meant for one daemon may be a secret; None: everybody on the node. A stick's FAT
    may give the names in capitals."""
    plain = name.casefold()
    return READERS.get("commander" if plain == CODE else plain.partition(".")[0])


def render(machine: MachineSettings, endpoint: EndpointSettings | None = None) -> Mapping[str, str]:
    """Path below /etc to content. `endpoint`: names the site's proxy, for containerd."""
    made: dict[str, str] = {}
    if lines := [f"{name}={value}\n" for name, value in environment(endpoint).items()]:
        made[PROXY] = f"{HEAD_PROXY}{''.join(lines)}"
    if machine.network is not None:
        made |= _network(machine.network)
    if machine.ntp:
        made[TIME] = f"{HEAD}[Time]\nNTP={' '.join(machine.ntp)}\n"
    return made


def _network(network: NetworkSettings) -> Mapping[str, str]:
    outer = f"{HEAD}[Match]\nType=ether\nName={network.interface}\n\n[Network]\n"
    if network.vlan is None:
        return {OWN[0]: outer + _talks(network)}
    silent = f"VLAN={VLAN}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    return {
        OWN[0]: outer + silent,
        OWN[1]: f"{HEAD}[NetDev]\nName={VLAN}\nKind=vlan\n\n[VLAN]\nId={network.vlan}\n",
        OWN[2]: f"{HEAD}[Match]\nName={VLAN}\n\n[Network]\n{_talks(network)}",
    }


def _talks(network: NetworkSettings) -> str:
    lines = ["LLMNR=no", "MulticastDNS=no"]
    if network.address is None:
        dhcp = "[DHCPv4]\nClientIdentifier=mac\nSendHostname=no\nUseHostname=no\n"
        return "\n".join([*lines, "DHCP=yes"]) + f"\n\n{dhcp}"
    lines.append(f"Address={network.address}")
    if network.gateway is not None:
        lines.append(f"Gateway={network.gateway}")
    lines += [f"DNS={one}" for one in network.dns]
    return "\n".join(lines) + "\n"
