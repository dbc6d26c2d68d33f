"""A NUC with a TPM under QEMU: its partitions are encrypted, also where the power fails amid the making; the TPM of
another machine opens none of them, and the node says so and waits for nothing.

Emulated, so no test judges by time. What is made and given up when is tried in test_image_seals_its_disk.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_commander.wipe.luks import LOOK, Luks, read
from images.nuc import build
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.nuc import Nuc, blank_disk, stick

SEALED = ("ident", "keep", "conf", "var")
PLACES = {"var": "/var", "ident": "/var/lib/galley-ident", "keep": "/var/lib/galley-keep", "conf": "/run/galley-conf"}
SECRET = "customer paid with card 4929"
BOOT_SECONDS = 900.0
pytestmark = pytest.mark.timeout(3600)


class Raw:
    """The machine's disk as a thief has it. The machine may be on: what it wrote is in this host's page cache."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk

    def start(self, label: str, length: int = LOOK) -> bytes:
        """The first bytes of a partition; KeyError where there is none."""
        with self.disk.open("rb") as file:
            file.seek(partitions(self.disk)[label].start)
            return file.read(length)

    def luks(self, label: str) -> Luks | None:
        return read(self.start(label), partitions(self.disk)[label].size)

    def holds(self, needle: bytes) -> bool:
        """Anywhere on the disk, holes of the file left out."""
        with self.disk.open("rb", buffering=0) as file:
            at, end, tail = 0, self.disk.stat().st_size, b""
            with suppress(OSError):  # ENXIO: no more data
                while at < end:
                    at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                    piece = os.pread(file.fileno(), 16 * 2**20, at)
                    if needle in tail + piece:
                        return True
                    at, tail = at + len(piece), piece[-len(needle) :]
        return False


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nuc]:
    """Its power fails at its first boot, while the last partition is made; then it starts again."""
    built = build.ensure()
    folder = tmp_path_factory.mktemp("luks")
    for name in ("stick", "disk"):
        (folder / name).mkdir()
    disks = [stick(built, folder / "stick/stick.raw"), blank_disk(folder / "disk/disk.raw")]
    nuc = Nuc(built, folder / "m", disks, tpm=True)
    try:
        nuc.start()
        _wait_sealed(nuc, "conf")
        nuc.cut_power()
        nuc.disks = nuc.disks[1:]
        nuc.boot(BOOT_SECONDS)
        yield nuc
    finally:
        nuc.cut_power()


def _wait_sealed(nuc: Nuc, label: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    raw = Raw(nuc.disks[-1])
    while time.monotonic() < deadline:
        with suppress(KeyError, ValueError):  # no table yet, or no such partition
            if raw.luks(label):
                return
        time.sleep(0.2)
    raise AssertionError(f"{label} was not made\n{nuc.console()[-2000:]}")


def test_all_that_is_the_node_s_own_is_encrypted(machine: Nuc) -> None:
    raw = Raw(machine.disks[0])
    for label in SEALED:
        assert raw.luks(label) == Luks(16 * 2**20), label
    assert machine.run("cat /run/galley-early/problems; ls /run/galley-early/seal", check=False).count("No such") == 2
    for label, place in PLACES.items():
        wanted = f"/dev/mapper/galley-{label} ext4"
        assert _until(machine, f"findmnt -rno SOURCE,FSTYPE {place}", wanted) == wanted, label


def _until(machine: Nuc, command: str, wanted: str) -> str:
    """What a command says, once it is what is wanted: the shell is there before all is mounted."""
    deadline = time.monotonic() + BOOT_SECONDS
    while (said := machine.run(command, check=False).strip()) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    return said


def test_nothing_of_what_is_written_is_on_the_disk_in_plain(machine: Nuc) -> None:
    write = " ".join(f"{place}/secret" for place in PLACES.values())
    machine.run(f"for file in {write}; do seq 1 2000 | xargs printf '{SECRET} %s\\n' > $file; done; sync")
    raw = Raw(machine.disks[0])
    assert not raw.holds(SECRET.encode())
    assert raw.holds(b"LUKS\xba\xbe")  # what is there is found


def test_the_tpm_of_another_machine_opens_nothing_and_the_node_says_so(machine: Nuc) -> None:
    machine.run("sync")
    machine.cut_power()
    raw = Raw(machine.disks[0])
    before = {label: raw.start(label, 16 * 2**20) for label in SEALED}
    (machine.folder / "tpm").rename(machine.folder / "tpm-of-its-own")
    machine.boot(BOOT_SECONDS)
    said = machine.run("cat /run/galley-early/problems")
    assert "this machine's TPM does not open it" in said
    assert "galley/forget" in said
    assert _until(machine, "systemctl list-jobs --no-legend | wc -l", "0") == "0"
    assert "does not open it" in machine.run("journalctl -b -u galley-problems --no-pager -o cat")
    assert machine.run("findmnt -rno FSTYPE /etc").strip() == "overlay"
    for place in PLACES.values():
        assert "mapper" not in machine.run(f"findmnt -rno SOURCE {place}", check=False), place
    assert {label: raw.start(label, 16 * 2**20) for label in SEALED} == before
