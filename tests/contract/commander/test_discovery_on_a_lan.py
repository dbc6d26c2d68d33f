"""The discovery process on a LAN of its own: three machines in namespaces on a bridge, real multicast, and a liar."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_commander.discovery.hints import MAX_BYTES, MAX_HINTS, PER_NODE
from tests.site_in_a_box.lan import Lan, address
from tests.site_in_a_box.lan_machine import Machine
from tests.site_in_a_box.process import Program

LIES = 5000
PATIENCE = 90.0
HOLD = (
    "import socket, time\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "s.bind(('', 5353))\n"
    "print('held', flush=True)\n"
    "time.sleep(3600)\n"
)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    lan = Lan(tmp_path)
    found: list[Machine] = []
    try:
        lan.up()
        for number in (1, 2, 3):
            found.append(Machine(lan, number, tmp_path))
            found[-1].up()
        yield found
    finally:
        for machine in found:
            machine.down()
        lan.down()


def until(what: Callable[[], bool], *machines: Machine) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            pytest.fail("\n".join(one.discovery.log_tail() + "\n" + _content(one.out) for one in machines))
        time.sleep(0.1)


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else f"{file.name}: not there"


def test_siblings_hear_of_one_another_follow_a_move_and_outlive_a_flood(machines: list[Machine]) -> None:
    a, b, c = machines
    # One port is held by a program that shares it with nobody: its discovery waits, the others do not.
    holder = Program("holder of 5353", [*c.enter(), sys.executable, "-c", HOLD], log=c.folder / "hold.log")
    holder.start()
    holder.wait_ready(lambda: "held" in holder.log_tail(), seconds=30)
    for machine in machines:
        machine.discovery.start()
    until(lambda: a.hears(b.node) == (address(2),) and b.hears(a.node) == (address(1),), a, b)
    until(lambda: "UDP port 5353" in c.discovery.log_tail(), c)
    assert c.discovery.running and a.hears(c.node) == () and c.hears(a.node) == ()
    holder.kill()
    everyone = [(one, other) for one in machines for other in machines if one is not other]
    until(lambda: all(one.hears(other.node) == (address(other.number),) for one, other in everyone), *machines)
    assert a.hears(a.node) == ()

    # Another lease: the others hear of the new address, which goes first.
    b.run(*f"ip address del {address(2)}/24 dev eth0".split())
    b.run(*f"ip address add {address(22)}/24 dev eth0".split())
    until(lambda: address(22) in a.hears(b.node) and address(22) in c.hears(b.node), *machines)

    before = {one.name: one.discovery.pss_bytes() for one in (a, b)}
    c.discovery.stop()
    c.run(sys.executable, "-m", "tests.site_in_a_box.mdns_flood", address(3), b.node, str(LIES))
    until(lambda: len(json.loads(a.out.read_bytes())["hints"]) == MAX_HINTS, a)
    assert address(22) in a.hears(b.node) and len(a.hears(b.node)) <= PER_NODE
    for one in (a, b):
        assert one.discovery.running and one.out.stat().st_size < MAX_BYTES
        grown = one.discovery.pss_bytes() - before[one.name]
        print(f"{one.name}: PSS {before[one.name] / 1e6:.1f} MB, {grown / 1e6:+.1f} MB after {LIES} lies")
        assert grown < 6e6

    # And still: a node that comes back is heard by those that it was known to.
    b.discovery.stop()
    b.discovery.start()
    until(lambda: b.hears(a.node) == (address(1),), b)


def test_at_rest_a_node_says_little_and_ends_when_asked(machines: list[Machine]) -> None:
    a, b, _ = machines
    for machine in (a, b):
        machine.discovery.start()
    until(lambda: a.hears(b.node) != () and b.hears(a.node) != (), a, b)
    time.sleep(3)  # what is announced thrice was announced
    before = a.sent() + b.sent()
    time.sleep(15)
    said = a.sent() + b.sent() - before
    print(f"two nodes, 15 s at rest: {said} packets")
    assert said <= 30
    a.discovery.stop(grace=10)
    assert a.discovery.returncode == 0, a.discovery.log_tail()
