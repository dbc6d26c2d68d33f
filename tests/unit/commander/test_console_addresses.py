"""Which of a machine's addresses are shown, out of the kernel's tables."""

from __future__ import annotations

from pathlib import Path

from edge_commander.console.addresses import lan
from edge_commander.console.look import network

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def route(name: str, destination: str, gateway: str, mask: str, metric: int = 0) -> str:
    flags = "0003" if gateway != "00000000" else "0001"
    return f"{name}\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


def trie(*addresses: str) -> str:
    one = "        |-- {}\n           /32 host LOCAL\n"
    return "Main:\n" + 2 * "".join(one.format(address) for address in ("127.0.0.1", *addresses))


DEFAULT = route("enp1s0", "00000000", "0102A8C0", "00000000", 100)
LAN = route("enp1s0", "0002A8C0", "00000000", "00FFFFFF")
SECOND = route("enp2s0", "0000000A", "00000000", "0000FFFF")
PODS = route("cni0", "0000F40A", "00000000", "00FFFFFF")
SIX = (
    "fe8000000000000000fc00fffe000001 04 40 20 80   enp1s0\n00000000000000000000000000000001 01 80 10 80 lo\n"
    "20010db8000000000000000000000002 04 40 00 82   enp1s0\n"
)


def test_the_way_to_the_internet_comes_first_and_pods_are_no_lan() -> None:
    text = HEAD + SECOND + PODS + LAN + DEFAULT
    assert lan(text, trie("10.0.0.5", "10.244.0.1", "192.168.2.7", "203.0.113.9"), SIX) == ("192.168.2.7", "10.0.0.5")


def test_ipv6_where_there_is_no_ipv4() -> None:
    assert lan(HEAD, trie(), SIX) == ("2001:db8::2",)
    assert lan("", "", "") == ()
    assert lan("nonsense\nmore of it\n", "x", "y\n") == ()


def test_cables_and_addresses_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(HEAD + LAN)
    (tmp_path / "proc/net/fib_trie").write_text(trie("192.168.2.7"))
    assert network(tmp_path) == (("192.168.2.7",), None)
    wired = tmp_path / "sys/class/net/enp1s0"
    (wired / "device").mkdir(parents=True)
    (tmp_path / "sys/class/net/veth0").mkdir()
    (tmp_path / "sys/class/net/veth0/carrier").write_text("1\n")
    assert network(tmp_path)[1] is None
    (wired / "carrier").write_text("0\n")
    assert network(tmp_path)[1] is False
    (wired / "carrier").write_text("1\n")
    assert network(tmp_path)[1] is True
