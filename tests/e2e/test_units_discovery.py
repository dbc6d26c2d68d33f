"""The discovery unit under a real systemd, on a LAN with a neighbour: it is heard, hears, and holds nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.contracts.ids import node_id
from tests.site_in_a_box.host_suite import USERS, SuiteHost, free_name
from tests.site_in_a_box.lan import Lan, address
from tests.site_in_a_box.lan_machine import Machine

SERIAL = "GALLEY-E2E-0053"
UNIT = "galley-discovery.service"
HINTS = "/run/galley-discovery/hints.json"
PSS_MB = 40.0


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    lan = Lan(tmp_path_factory.mktemp("lan"))
    lan.up()
    try:
        yield lan
    finally:
        lan.down()


@pytest.fixture(scope="module")
def neighbour(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(lan, 2, tmp_path_factory.mktemp("neighbour"))
    try:
        machine.up()
        machine.discovery.start()
        yield machine
    finally:
        machine.down()


@pytest.fixture(scope="module")
def place(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The network that the node stands in; its interface has no address yet."""
    machine = Machine(lan, 1, tmp_path_factory.mktemp("place"))
    try:
        machine.up()
        machine.run(*f"ip address del {address(1)}/24 dev eth0".split())
        yield machine
    finally:
        machine.down()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, host_base: Path, place: Machine) -> Iterator[SuiteHost]:
    """The node."""
    host = SuiteHost(
        free_name("disc"),
        tmp_path_factory.mktemp("host"),
        serial=SERIAL,
        units=("edge-commander", "discovery"),
        enter=place.enter(),
    )
    host.lay_out(host.settings(), {}, {})
    try:
        host.boot()
        yield host
    finally:
        host.power_off()
        host.remove()


def until(what: Callable[[], object], host: SuiteHost, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, host.journal("discovery")
        time.sleep(0.2)


def heard(host: SuiteHost) -> dict[str, str]:
    """What the unit's file says, as the commander may read it."""
    said = json.loads(host.as_user(USERS["edge-commander"], "cat", HINTS))
    return {one["node"]: one["address"] for one in said["hints"]}


def test_it_starts_without_a_lan_and_speaks_once_there_is_one(host: SuiteHost, neighbour: Machine) -> None:
    host.wait_active("edge-commander", "discovery")
    until(lambda: "there is no LAN" in host.journal("discovery"), host)
    assert heard(host) == {} and host.property(UNIT, "NRestarts") == "0"
    host.run("ip", "address", "add", f"{address(1)}/24", "dev", "eth0")
    until(lambda: neighbour.hears(node_id(SERIAL)) == (address(1),), host)
    until(lambda: heard(host) == {neighbour.node: address(2)}, host)


def test_it_listens_for_mdns_and_on_nothing_else(host: SuiteHost) -> None:
    until(lambda: "announces" in host.journal("discovery"), host)
    lines = host.run("ss", "-H", "-l", "-t", "-u", "-n", "-p").splitlines()
    mine = {line.split()[0] + " " + line.split()[4] for line in lines if f"pid={host.main_pid('discovery')}," in line}
    assert mine == {"udp 0.0.0.0:5353", f"udp {address(1)}:5353"}


def test_it_is_a_user_of_its_own_without_any_capability(host: SuiteHost) -> None:
    host.wait_active("discovery")
    lines = host.run("cat", f"/proc/{host.main_pid('discovery')}/status").splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    assert status["Uid"].split() == [str(USERS["discovery"])] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


@pytest.mark.parametrize(
    "path", ["/run/galley/identity.sock", "/var/lib/galley-ident/device-keys.json", "/etc/galley/galley.yaml"]
)
def test_it_gets_at_nothing_of_the_node(host: SuiteHost, path: str) -> None:
    host.wait_active("edge-commander", "discovery")
    until(lambda: "there" in host.shell("test -e {} && echo there", path, check=False), host)
    inside = ["nsenter", "-t", str(host.main_pid("discovery")), "-m", "--"]
    drop = ["setpriv", f"--reuid={USERS['discovery']}", f"--regid={USERS['discovery']}", "--clear-groups"]
    assert "Permission denied" in host.run(*inside, *drop, "cat", path, check=False)


def test_what_it_leaves_only_it_may_change(host: SuiteHost) -> None:
    host.wait_active("discovery")
    until(lambda: "there" in host.shell("test -e {} && echo there", HINTS, check=False), host)
    assert host.run("stat", "-c", "%a %u", HINTS).split() == ["644", str(USERS["discovery"])]
    assert host.run("stat", "-c", "%a %u", "/run/galley-discovery").split() == ["755", str(USERS["discovery"])]
    assert "Permission denied" in host.as_user(USERS["vessel"], "bash", "-c", f"echo > {HINTS}", check=False)


def test_it_needs_little(host: SuiteHost) -> None:
    host.wait_active("discovery")
    until(lambda: "announces" in host.journal("discovery"), host)
    text = host.run("cat", f"/proc/{host.main_pid('discovery')}/smaps_rollup")
    pss = next(int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines() if line.startswith("Pss:"))
    print(f"discovery at rest: PSS {pss:.1f} MB")
    assert pss < PSS_MB


def test_killed_it_comes_back_and_asked_it_ends_cleanly(host: SuiteHost, neighbour: Machine) -> None:
    host.wait_active("discovery")
    host.run("kill", "-9", str(host.main_pid("discovery")))
    host.wait_property(UNIT, "NRestarts", "1")
    host.wait_active("discovery")
    until(lambda: heard(host) == {neighbour.node: address(2)}, host)
    host.run("systemctl", "stop", UNIT)
    assert host.property(UNIT, "Result") == "success", host.journal("discovery")
    assert host.property(UNIT, "ExecMainStatus") == "0"
    assert host.property("galley-edge-commander.service", "ActiveState") == "active"  # who needs no hint goes on
    host.run("systemctl", "start", UNIT)
    host.wait_active("discovery")
