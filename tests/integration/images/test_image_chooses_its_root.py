"""Which root the initrd takes where two disks hold the same version: the one of its slot on the node's own disk."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "images/nuc/initrd/local-top/galley"
UUID, OTHER = "3f0b6f0a-0000-4000-8000-000000000001", "3f0b6f0a-0000-4000-8000-000000000002"
UDEVADM = """\
#!/bin/sh
for word in "$@"; do case $word in --name=/dev/*) cat "$UDEV/${word#--name=/dev/}" 2> /dev/null; esac; done
"""


class Initrd:
    """/sys/block of a made-up machine, and what udev knows of its partitions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sys/block", "udev", "bin"):
            (folder / name).mkdir(parents=True)
        (folder / "bin/udevadm").write_text(UDEVADM)
        (folder / "bin/udevadm").chmod(0o755)

    def disk(self, name: str, parts: Mapping[str, str]) -> None:
        """`parts`: label to the UUID of its file system, in order."""
        for number, (label, uuid) in enumerate(parts.items(), 1):
            part = self.folder / f"sys/block/{name}/{name}{number}"
            part.mkdir(parents=True)
            (part / "uevent").write_text(f"DEVTYPE=partition\nPARTN={number}\nPARTNAME={label}\n")
            (self.folder / f"udev/{name}{number}").write_text(f"ID_FS_TYPE=erofs\nID_FS_UUID={uuid}\n")

    def run(self, slot: str = "a") -> str:
        words = f"root=UUID={UUID} galley.slot={slot} rootfstype=erofs ro" if slot else "root=/dev/sda2 ro"
        (self.folder / "cmdline").write_text(words + "\n")
        environ = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin", "UDEV": str(self.folder / "udev"),
            "SYS": str(self.folder / "sys"), "CMDLINE": str(self.folder / "cmdline"),
            "PARAM": str(self.folder / "param"),
        }  # fmt: skip
        subprocess.run(["sh", str(SCRIPT)], env=environ, check=True, timeout=30)
        return (self.folder / "param").read_text().strip() if (self.folder / "param").exists() else ""


STICK = {"esp": "", "root-a": UUID}
NODE = {"esp": "", "root-a": UUID, "root-b": OTHER, "journal": "", "ident": ""}


@pytest.fixture
def initrd(tmp_path: Path) -> Initrd:
    return Initrd(tmp_path)


def test_a_stick_with_the_same_version_is_passed_over(initrd: Initrd) -> None:
    initrd.disk("sda", STICK)
    initrd.disk("sdb", NODE)
    assert initrd.run() == "ROOT=/dev/sdb2"


def test_the_other_slot_has_another_root(initrd: Initrd) -> None:
    initrd.disk("sda", {**NODE, "root-a": OTHER, "root-b": UUID})
    assert initrd.run("b") == "ROOT=/dev/sda3"


def test_a_root_of_another_version_is_never_taken(initrd: Initrd) -> None:
    initrd.disk("sda", STICK)
    initrd.disk("sdb", {**NODE, "root-a": OTHER})
    assert initrd.run() == "", "the stick's own, as root= says"
    assert initrd.run("b") == ""


def test_a_stick_that_installs_has_its_own_root(initrd: Initrd) -> None:
    initrd.disk("sda", STICK)
    assert initrd.run() == ""


def test_another_command_line_is_left_alone(initrd: Initrd) -> None:
    initrd.disk("sda", NODE)
    assert initrd.run("") == ""
