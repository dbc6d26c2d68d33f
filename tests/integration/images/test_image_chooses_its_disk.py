"""Which disk early boot takes: the node's own, a blank one, the booted one; never one that holds anything else."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

EARLY = Path(__file__).resolve().parents[3] / "images/nuc/files/usr/lib/galley/early"
BIG = 256 * 2**30 // 512


class Machine:
    """/sys/block and /dev of a made-up machine."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.dev = folder / "sys", folder / "dev"
        (self.sys / "block").mkdir(parents=True)
        self.dev.mkdir()

    def disk(
        self, name: str, *, parts: Sequence[str] = (), content: bytes = b"", usb: bool = False, sectors: int = BIG,
        read_only: int = 0, removable: int = 0,
    ) -> None:  # fmt: skip
        real = self.sys / "devices" / ("usb1" if usb else "pci0") / name
        real.mkdir(parents=True)
        (self.sys / "block" / name).symlink_to(real)
        for file, value in (("size", sectors), ("ro", read_only), ("removable", removable)):
            (real / file).write_text(f"{value}\n")
        for number, label in enumerate(parts, 1):
            part = real / (f"{name}p{number}" if name[-1].isdigit() else f"{name}{number}")
            part.mkdir()
            (part / "partition").write_text(f"{number}\n")
            (part / "uevent").write_text(f"DEVTYPE=partition\nPARTN={number}\nPARTNAME={label}\n")
        (self.dev / name).write_bytes(content + bytes(2**20 - len(content)))

    def choose(self, booted: str) -> str:
        script = f'. {EARLY}; choose "$1"'
        done = subprocess.run(
            ["sh", "-c", script, "sh", booted],
            capture_output=True, text=True, check=False, env={"SYS": str(self.sys), "DEV": str(self.dev)}, timeout=30,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.strip()


IMAGE = ("esp", "root-a")
NODE = (*IMAGE, "root-b", "journal", "ident", "keep", "conf", "var")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_disk_of_the_node_is_taken_before_any_blank_one(machine: Machine) -> None:
    machine.disk("sda", parts=IMAGE, usb=True, removable=1)
    machine.disk("nvme0n1")
    machine.disk("nvme1n1", parts=NODE)
    assert machine.choose("sda") == "keep nvme1n1"


def test_from_a_stick_a_blank_disk_is_installed_the_fastest_kind_first(machine: Machine) -> None:
    machine.disk("sda", parts=IMAGE, usb=True, removable=1)
    machine.disk("sdb")
    machine.disk("nvme0n1")
    assert machine.choose("sda") == "install nvme0n1"


def test_without_a_blank_one_the_booted_disk_grows_where_it_stays(machine: Machine) -> None:
    machine.disk("nvme0n1", parts=IMAGE)
    assert machine.choose("nvme0n1") == "grow nvme0n1"


@pytest.mark.parametrize("stick", [{"usb": True}, {"removable": 1}])
def test_a_stick_alone_never_becomes_a_node(machine: Machine, stick: dict[str, int]) -> None:
    machine.disk("sda", parts=IMAGE, **stick)  # type: ignore[arg-type]
    assert machine.choose("sda") == ""


def test_what_hangs_on_usb_is_neither_the_nodes_disk_nor_made_one(machine: Machine) -> None:
    """A second stick that is blank, and another node's disk in a case, beside or without a disk of the node's own."""
    machine.disk("sda", parts=IMAGE, usb=True)
    machine.disk("sdb", usb=True)
    machine.disk("sdc", parts=NODE, usb=True)
    assert machine.choose("sda") == ""
    machine.disk("sdd")
    assert machine.choose("sda") == "install sdd"
    machine.disk("sde", parts=NODE)
    assert machine.choose("sda") == machine.choose("sde") == "keep sde"


def test_a_disk_that_holds_anything_is_never_taken(machine: Machine) -> None:
    ext4 = bytes(1024) + bytes(56) + b"\x53\xef" + bytes(10)
    machine.disk("sda", parts=IMAGE, usb=True)
    machine.disk("sdb", parts=("Windows",))
    machine.disk("sdc", content=bytes(1080) + b"\x53\xef\x01\x00" + ext4[1084:])
    machine.disk("sdd", content=b"LUKS\xba\xbe\x00\x01")
    machine.disk("sde", content=bytes(510) + b"\x55\xaa")
    machine.disk("sdf", sectors=2**20)
    machine.disk("sdg", read_only=1)
    machine.disk("sdh", sectors=0)
    assert machine.choose("sda") == ""
    machine.disk("sdi")
    assert machine.choose("sda") == "install sdi"


def test_content_that_nobody_knows_is_content(machine: Machine) -> None:
    """A volume that is encrypted without a header has no signature, and blkid finds nothing."""
    machine.disk("sda", parts=IMAGE, usb=True)
    machine.disk("sdb", content=random.Random(7).randbytes(2**20))
    machine.disk("sdc", content=b"my own format\n")
    assert machine.choose("sda") == ""
    machine.disk("sdd", content=b"\xff" * 2**20)  # erased flash reads so where it does not read zeros
    assert machine.choose("sda") == "install sdd"


def test_a_partition_that_was_added_to_a_disk_in_use_is_found_by_the_table(machine: Machine) -> None:
    """The kernel shows no name of it: it is not told any."""
    machine.disk("sda", parts=IMAGE)
    part = machine.sys / "devices/pci0/sda/sda3"
    part.mkdir()
    (part / "partition").write_text("3\n")
    (part / "uevent").write_text("DEVTYPE=partition\nPARTN=3\n")
    table = 'blkid() { [ "${6##*/}" = sda3 ] && echo conf; }'
    script = f'. {EARLY}; {table}; for name in esp conf var; do partition sda "$name" || echo none; done'
    environ = {"SYS": str(machine.sys), "DEV": str(machine.dev)}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=environ, timeout=30)
    assert (done.stdout.split(), done.stderr) == (["sda1", "sda3", "none"], "")


def test_the_nodes_partitions_go_by_their_disk_and_not_by_their_names_alone(machine: Machine, tmp_path: Path) -> None:
    """Another disk with partitions of these names may be there before early boot, and udev, which gives a name to
    whatever came last, sees one that is plugged in later: no wipe is armed, or looked for, in that one's journal."""
    machine.disk("sdc", parts=NODE, usb=True)
    machine.disk("nvme0n1", parts=[name for name in NODE if name != "keep"])
    labels, run = machine.dev / "disk/by-partlabel", tmp_path / "run"
    labels.mkdir(parents=True)
    for number, name in enumerate(NODE, 1):
        (labels / name).symlink_to(f"../../sdc{number}")
    environ = {"SYS": str(machine.sys), "DEV": str(machine.dev), "RUN": str(run), "NAMES": "ident keep conf var"}
    script = f". {EARLY}; blkid() {{ return 2; }}; name_partitions nvme0n1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=environ, timeout=30)
    assert done.stderr == ""
    assert {one.name: str(one.readlink())[6:10] for one in labels.iterdir()} == dict.fromkeys(
        set(NODE) - {"keep"}, "nvme"
    )
    own = yaml.safe_load((EARLY.parents[3] / "etc/galley/galley.d/00-image.yaml").read_text())["edge_commander"]
    place = Path(own["wipe"]["journal"])
    assert place.parent == Path("/run/galley-early/dev")
    assert (run / "dev" / place.name).readlink() == machine.dev / "nvme0n1p4"
