"""The section `machine` of galley.yaml: what is wrong with one, and what a good one becomes."""

from __future__ import annotations

from typing import Any

import pytest

from agents.core.errors import ConfigError
from agents.core.settings import EndpointSettings, build_section
from edge_commander.machine_settings.files import OWN, PROXY, reader_of, render
from edge_commander.machine_settings.settings import MachineSettings, problems

FIXED = {"address": "192.0.2.11/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1", "2001:db8::53"]}


def _machine(**machine: Any) -> MachineSettings:
    return build_section([("galley.yaml", {"v": 1, "machine": machine})], "machine", MachineSettings)


def test_every_error_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        _machine(network={"address": "here", "vlan": 0, "speed": 1}, ntp=["a b"], proxy="x")
    assert {problem.split(":")[0] for problem in caught.value.problems} == {
        "machine.network.address", "machine.network.vlan", "machine.network.speed", "machine.ntp[0]", "machine.proxy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"address": "192.0.2.0/24"}, "machine.network.address"),
        ({"address": "192.0.2.11/33"}, "machine.network.address"),
        ({"gateway": "198.51.100.1"}, "machine.network.gateway"),
        ({"gateway": "192.0.2.11"}, "machine.network.gateway"),
        ({"gateway": "router"}, "machine.network.gateway"),
        ({"address": "fd00::11/64", "gateway": "fd00::1%x\nDNS=192.0.2.66"}, "machine.network.gateway"),
        ({"dns": ["fe80::1%x\n[Link]\nUnmanaged=yes"]}, "machine.network.dns[0]"),
        ({"dns": ["192.0.2.1", "dns"]}, "machine.network.dns[1]"),
        ({"dns": ["fe80::53%en0\nIPv4Forwarding=yes"]}, "machine.network.dns[0]"),
        ({"address": None}, "machine.network.address"),
        ({"address": "127.0.0.1/8", "gateway": None}, "machine.network.address"),
        ({"address": "224.0.0.5/24", "gateway": None}, "machine.network.address"),
        ({"address": "255.255.255.255/32", "gateway": None}, "machine.network.address"),
        ({"address": "::/128", "gateway": None}, "machine.network.address"),
        ({"address": "ff02::5/64", "gateway": None}, "machine.network.address"),
        ({"gateway": "192.0.2.255"}, "machine.network.gateway"),
        ({"gateway": "0.0.0.0"}, "machine.network.gateway"),
        ({"gateway": "fe80::1"}, "machine.network.gateway"),
        ({"address": "2001:db8::11/64", "gateway": "fe80::1%en0"}, "machine.network.gateway"),
        ({"dns": ["0.0.0.0"]}, "machine.network.dns[0]"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(change: dict[str, Any], path: str) -> None:
    assert problems(_machine(network=FIXED)) == []
    found = problems(_machine(network={**FIXED, **change}))
    assert [one.split(": ")[0] for one in found] == [path]


@pytest.mark.parametrize("gateway", ["fe80::1", "2001:db8::1"])
def test_a_router_of_ipv6_is_known_by_its_link_local_address_too(gateway: str) -> None:
    assert problems(_machine(network={"address": "2001:db8::11/64", "gateway": gateway})) == []


def test_a_link_local_address_may_name_its_interface() -> None:
    assert problems(_machine(network={**FIXED, "dns": ["fe80::1%eno1.20"]})) == []


def test_a_new_line_at_the_end_of_a_word_is_no_part_of_it() -> None:
    """A second server would stand on a line of its own, which is none."""
    with pytest.raises(ConfigError) as caught:
        _machine(network={"address": "192.0.2.11/24\n", "interface": "en*\n"}, ntp=["a\n", "b"])
    assert sorted(caught.value.problems) == [
        "machine.network.address: must be an address with its prefix, as 192.0.2.11/24",
        "machine.network.interface: must be the name of an interface, * and ? allowed",
        "machine.ntp[0]: must be a host name or an address",
    ]


def _parsed(text: str) -> list[tuple[str, str, str]]:
    lines: list[tuple[str, str, str]] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            lines.append((section, key, value))
    return lines


def test_nothing_said_makes_no_file() -> None:
    assert render(_machine()) == {}


def test_a_fixed_address_is_the_only_one() -> None:
    made = render(_machine(network=FIXED, ntp=["192.0.2.1"]))
    assert set(made) == {OWN[0], OWN[3]}
    lines = _parsed(made[OWN[0]])
    assert ("Match", "Name", "en*") in lines
    assert {value for _, key, value in lines if key in ("Address", "Gateway", "DNS")} == {
        "192.0.2.11/24", "192.0.2.1", "2001:db8::53",
    }  # fmt: skip
    assert not [line for line in lines if line[1] == "DHCP"]
    assert ("Time", "NTP", "192.0.2.1") in _parsed(made[OWN[3]])


def test_with_a_vlan_the_untagged_interface_is_silent() -> None:
    made = render(_machine(network={"vlan": 20}))
    assert set(made) == set(OWN[:3])
    outer = _parsed(made[OWN[0]])
    assert ("Network", "VLAN", "galley-vlan") in outer
    assert not [line for line in outer if line[1] in ("DHCP", "Address")]
    assert ("VLAN", "Id", "20") in _parsed(made[OWN[1]])
    assert ("Network", "DHCP", "yes") in _parsed(made[OWN[2]])


def test_the_sites_proxy_becomes_containerds() -> None:
    endpoint = EndpointSettings(
        urls=["https://c.example"], issuer="https://c.example", proxy="http://p.example:3128", no_proxy=["git.example"]
    )
    (made,) = render(_machine(), endpoint).items()
    assert made[0] == PROXY and made[0] in OWN
    assert "HTTPS_PROXY=http://p.example:3128\n" in made[1] and "git.example" in made[1]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("vessel.kubeconfig", "galley-vessel"),
        ("commander.kubeconfig", "galley-commander"),
        ("enrol-code", "galley-commander"),
        ("synthetic.scenario.yaml", "galley-synthetic"),
        ("galley.yaml", None),
        ("ca.pem", None),
        ("vesselx.kubeconfig", None),
    ],
)
def test_what_is_meant_for_one_daemon_is_read_by_it_alone(name: str, reader: str | None) -> None:
    assert reader_of(name) == reader


def test_a_stick_that_has_its_names_in_capitals_tells_no_secret() -> None:
    assert reader_of("VESSEL.KUBECONFIG") == reader_of("vessel.kubeconfig") == "galley-vessel"
    assert reader_of("ENROL-CODE") == reader_of("enrol-code") == "galley-commander"
    assert reader_of("CA.PEM") is None
