"""The NUC image under QEMU: a stick and a blank disk become a node that enrols by itself, then one from its disk alone.

One machine with a TPM, one without. Everything here is emulated: no test judges by time.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.nuc.build import Built
from tests.site_in_a_box.gpt import Partition, partitions
from tests.site_in_a_box.nuc import Nuc
from tests.site_in_a_box.nuc_shop import SITE, Shop, settled, wait

LABELS = ["esp", "root-a", "root-b", "journal", "ident", "keep", "conf", "var"]
UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery")
LISTENS = {
    ("tcp", "127.0.0.1", 9401), ("tcp", "127.0.0.1", 9402), ("tcp", "127.0.0.1", 9403), ("tcp", "127.0.0.1", 9404),
    ("tcp", "0.0.0.0", 9411), ("udp", "0.0.0.0", 5353), ("udp", "0.0.0.0", 68), ("udp", "0.0.0.0", 9410),
}  # fmt: skip
"""What docs/image.md names; containerd's streaming port, on loopback, is whatever is free."""
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def shop(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(image, tmp_path_factory.mktemp("image"))
    yield shop
    shop.endpoint.program.stop()


@pytest.fixture(scope="module")
def machine(shop: Shop) -> Iterator[Nuc]:
    """Without a TPM, at its first boot from the stick."""
    nuc = shop.ship("GALLEY-NUC-0001", tpm=False)
    try:
        nuc.boot()
        settled(nuc)
        yield nuc
    finally:
        nuc.cut_power()


def test_a_blank_disk_becomes_a_node_s_disk(machine: Nuc) -> None:
    made = partitions(machine.disks[1])
    assert list(made) == LABELS
    assert made["journal"].size == 1024 * 1024
    assert made["var"].size > 2**32 - 2**29
    table = machine.run("findmnt -rno TARGET,SOURCE,FSTYPE,OPTIONS")
    for label, where in (("var", "/var"), ("ident", "/var/lib/galley-ident"), ("keep", "/var/lib/galley-keep")):
        assert re.search(rf"^{where} /dev/vdb{LABELS.index(label) + 1} ext4 rw,nosuid,nodev", table, re.MULTILINE), (
            table
        )
    assert re.search(r"^/ /dev/vda2 erofs ro", table, re.MULTILINE), table
    assert re.search(r"^/etc overlay overlay rw", table, re.MULTILINE), table
    assert re.search(r"^/run/galley-conf /dev/vdb7 ext4 ", table, re.MULTILINE), table


def test_what_was_booted_is_what_was_installed(machine: Nuc) -> None:
    """Byte for byte: the next boot needs no stick."""
    stick_, disk = (partitions(one) for one in machine.disks)
    assert _content(machine.disks[0], stick_["root-a"]) == _content(machine.disks[1], disk["root-a"])
    assert _content(machine.disks[0], stick_["esp"]) == _content(machine.disks[1], disk["esp"])


def _content(file: Path, part: Partition) -> str:
    command = f"dd if='{file}' bs=1M skip={part.start // 2**20} count={part.size // 2**20} status=none | sha256sum"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


def test_every_unit_is_started_and_none_failed(machine: Nuc) -> None:
    assert not machine.run("systemctl --failed --no-legend --plain").strip()
    assert settled(machine) == "running"
    for unit in UNITS:
        assert machine.run(f"systemctl is-active galley-{unit}").strip() == "active", unit
    assert machine.run("systemctl is-active galley-distribution.socket").strip() == "active"
    assert "ordering cycle" not in machine.run("journalctl -b --no-pager _PID=1 | grep -i cycle", check=False)
    assert not machine.run("cat /run/galley-early/problems", check=False).replace(
        "cat: /run/galley-early/problems: No such file or directory", ""
    ).strip()  # fmt: skip


def test_it_enrols(shop: Shop, machine: Nuc) -> None:
    wait(lambda: shop.enrolled(machine.serial), "enrolled", machine)
    node = wait(lambda: (one := shop.node(machine.serial)) and one["beat_ms"] and one, "a beat", machine)
    assert node["site"] == SITE


def test_nothing_listens_that_the_docs_do_not_name(machine: Nuc) -> None:
    found = set()
    for line in machine.run("ss -Hltunp").splitlines():
        kind, _, _, _, local, _, *who = line.split()
        address, _, port = local.rpartition(":")
        if "containerd" in "".join(who) and address == "127.0.0.1":
            continue
        found.add((kind, address.partition("%")[0].strip("[]") or "*", int(port)))
    unknown = {one for one in found if one not in LISTENS and (one[0], "0.0.0.0", one[2]) not in LISTENS}
    assert not unknown


def test_nobody_can_log_in(machine: Nuc) -> None:
    """No password, no getty, no shell over the network."""
    open_ = [line for line in machine.run("cat /etc/shadow").splitlines() if line.split(":")[1][:1] not in ("*", "!")]
    assert not open_
    units = machine.run("systemctl list-units --no-legend --plain --all 'getty*' 'serial-getty*' 'ssh*' 'console*'")
    assert not [line for line in units.splitlines() if " active " in line]
    assert machine.run("ls /usr/sbin/sshd /usr/bin/sshd 2>/dev/null", check=False).strip() == ""


def test_a_second_start_is_from_the_disk_alone_with_the_same_identity(shop: Shop, machine: Nuc) -> None:
    node = shop.node(machine.serial)
    before = machine.run("cat /etc/machine-id; sha256sum /var/lib/galley-ident/*.json; echo kept > /etc/kept")
    machine.power_off()
    machine.disks = machine.disks[1:]
    machine.boot()
    assert settled(machine) == "running"
    assert machine.run("cat /etc/kept").strip() == "kept"
    after = machine.run("cat /etc/machine-id")
    assert after.splitlines()[0] == before.splitlines()[0]
    assert node is not None and (shop.node(machine.serial) or {})["node"] == node["node"]


def test_with_a_tpm_the_keys_are_in_it(shop: Shop) -> None:
    nuc = shop.ship("GALLEY-NUC-0002", tpm=True)
    try:
        nuc.boot()
        wait(lambda: shop.enrolled(nuc.serial), "enrolled", nuc, seconds=900)
        assert settled(nuc) == "running"
        files = nuc.run("ls /var/lib/galley-ident")
        assert "tpm" in files.lower(), files
    finally:
        nuc.cut_power()
