"""What an announcement may become: bounded, soon forgotten, judged again by whoever reads it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agents.contracts.ids import node_id
from edge_commander.discovery import hintfile
from edge_commander.discovery.hints import (
    KEEP_SECONDS,
    MAX_BYTES,
    MAX_HINTS,
    PER_NODE,
    SILENT_SECONDS,
    Hint,
    Hints,
    HintTable,
    lan_address,
    node_of_host,
    usable,
)
from edge_commander.discovery.interfaces import Interface, Lan, choose

A, B, C = (node_id(f"nuc-{name}") for name in "abc")


@pytest.mark.parametrize("text", ["10.0.0.3", "172.16.0.1", "172.31.255.254", "192.168.4.5", "fd00::3", "fc00::1"])
def test_addresses_of_a_lan_are_taken(text: str) -> None:
    assert lan_address(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "nuc-b", "10.0.0", "010.0.0.1", "8.8.8.8", "127.0.0.1", "169.254.1.1", "224.0.0.251", "0.0.0.0", "172.32.0.1",
     "::1", "fe80::1", "fe80::1%eth0", "fd00::1%eth0", "2001:db8::1", "ff02::fb", "::ffff:10.0.0.1", "10.0.0.1\n",
     "10.0.0.1:9411", "1" * 400],
)  # fmt: skip
def test_anything_else_is_not(text: str) -> None:
    assert lan_address(text) == ""


def test_an_address_is_written_by_rule() -> None:
    assert lan_address("FD00:0:0::0003") == "fd00::3"


@pytest.mark.parametrize(
    ("name", "node"),
    [(f"{A}.local.", A), (f"{A.upper()}.LOCAL.", A), (f"{A}.local", ""), (f"{A}.evil.local.", ""), ("nuc-b.local.", ""),
     ("n-short.local.", ""), (f"x{A}.local.", ""), ("", "")],
)  # fmt: skip
def test_a_host_is_a_node_by_its_name_alone(name: str, node: str) -> None:
    assert node_of_host(name) == node


def addresses(table: HintTable, node: str, now: float) -> list[str]:
    return [one.address for one in table.without("", now).hints if one.node == node]


def test_only_what_is_new_is_news() -> None:
    table = HintTable()
    assert table.heard(A, "10.0.0.1", 0.0)
    assert not table.heard(A, "10.0.0.1", 1.0)
    assert not table.heard(A, "8.8.8.8", 1.0) and not table.heard("nuc-a", "10.0.0.2", 1.0)
    assert table.heard(A, "10.0.0.2", 2.0)
    assert addresses(table, A, 2.0) == ["10.0.0.1", "10.0.0.2"]
    assert table.without(A, 2.0).hints == []


def test_a_flood_of_addresses_for_one_node_takes_no_place_of_who_is_heard_still() -> None:
    table = HintTable()
    table.heard(A, "10.0.0.1", 0.0)
    table.heard(B, "10.0.0.2", 0.0)
    for number in range(5000):
        now = number / 4
        table.heard(A, f"10.9.{number // 250}.{number % 250}", now)
        if number % 400 == 0:  # each 100 s
            table.heard(A, "10.0.0.1", now)
            table.heard(B, "10.0.0.2", now)
    assert len(addresses(table, A, now)) == PER_NODE
    assert "10.0.0.1" in addresses(table, A, now) and addresses(table, B, now) == ["10.0.0.2"]


def test_a_flood_of_nodes_neither() -> None:
    table = HintTable()
    table.heard(A, "10.0.0.1", 0.0)
    for number in range(5000):
        table.heard(node_id(f"liar {number}"), "10.6.6.6", 1.0)
    assert len(table.without("", 1.0).hints) == MAX_HINTS and addresses(table, A, 1.0) == ["10.0.0.1"]
    assert len(msgspec.json.encode(table.without("", 1.0))) < MAX_BYTES


def test_who_falls_silent_gives_its_place_to_a_newcomer_and_is_forgotten_later() -> None:
    table = HintTable()
    for number in range(PER_NODE):
        table.heard(A, f"10.0.0.{number}", float(number))
    assert not table.heard(A, "10.0.0.9", SILENT_SECONDS - 1)
    assert table.heard(A, "10.0.0.9", SILENT_SECONDS)
    assert addresses(table, A, SILENT_SECONDS) == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"]
    assert addresses(table, A, KEEP_SECONDS + PER_NODE) == ["10.0.0.9"]


def test_a_reader_believes_nothing_that_it_does_not_check() -> None:
    said = [
        Hint(A, "10.0.0.1", 50),
        Hint(A, "10.0.0.2", 60),
        Hint(A, "8.8.8.8", 60),
        Hint(A, "10.0.0.3", 999),  # of a time to come
        Hint(B, "10.0.0.4", 60),
        *(Hint(A, f"10.5.0.{number}", 40) for number in range(40)),
    ]
    found = usable(said, A, 61.0)
    assert found[:2] == ("10.0.0.2", "10.0.0.1") and len(found) == PER_NODE
    assert usable(said, A, 60.0 + KEEP_SECONDS) == () and usable(said, C, 61.0) == ()


def test_hints_go_through_the_file_and_follow_it(tmp_path: Path) -> None:
    file, now = tmp_path / "hints.json", 100.0
    read = hintfile.HintReader(file, lambda: now)
    assert read(A) == ()
    hintfile.write(file, Hints(hints=[Hint(A, "10.0.0.1", 90)]))
    assert read(A) == ("10.0.0.1",) and read(B) == () and file.stat().st_mode & 0o777 == 0o644
    hintfile.write(file, Hints(hints=[Hint(B, "10.0.0.22", 90)]))
    assert read(A) == () and read(B) == ("10.0.0.22",)
    file.unlink()
    assert read(B) == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 10_000,
        b"\xff\xfe",
        b'{"v": 1, "hints": [{"node": "../x", "address": "10.0.0.1", "seen": 1}]}',
        b'{"v": 1, "hints": [{"node": "%s", "address": "10.0.0.1", "seen": -1}]}' % A.encode(),
        msgspec.json.encode(Hints(hints=[Hint(A, "10.0.0.1", 90)] * (MAX_HINTS + 1))),
        msgspec.json.encode(Hints(hints=[Hint(A, "10.0.0.1", 90)])) + b" " * MAX_BYTES,
    ],
    ids=["empty", "cut", "a list", "deep", "no text", "no node", "a time before", "too many", "too long"],
)
def test_a_damaged_file_is_no_hint(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hints.json"
    file.write_bytes(content)
    assert hintfile.HintReader(file, lambda: 100.0)(A) == ()


def test_what_is_no_plain_file_holds_nobody_up(tmp_path: Path) -> None:
    import os

    file, real = tmp_path / "hints.json", tmp_path / "real.json"
    os.mkfifo(file)
    assert hintfile.HintReader(file, lambda: 100.0)(A) == ()
    file.unlink()
    hintfile.write(real, Hints(hints=[Hint(A, "10.0.0.1", 90)]))
    file.symlink_to(real)
    assert hintfile.HintReader(file, lambda: 100.0)(A) == ()


def test_the_lan_is_what_neither_a_cluster_nor_a_tunnel_made() -> None:
    found = [
        Interface("lo", ("127.0.0.1", "::1")),
        Interface("cni0", ("10.244.0.1",)),
        Interface("flannel.1", ("10.244.0.0",)),
        Interface("calia1b2", ("10.1.1.1",)),
        Interface("eno1", ("192.168.7.20", "192.168.7.21", "fd00::20", "fe80::1", "2001:db8::5")),
        Interface("wlp2s0", ("fd01::7",)),
        Interface("eno2", ("8.8.4.4",)),
    ]
    assert choose(found) == Lan(("192.168.7.20",), ("192.168.7.20", "192.168.7.21", "fd00::20"))
    assert choose(found, ["cni0"]) == Lan(("10.244.0.1",), ("10.244.0.1",))
    assert choose(found, ["absent"]) == Lan()
