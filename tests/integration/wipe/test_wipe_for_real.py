"""The wipe of a real disk: GPT by systemd-repart, loop devices, ext4 and LUKS2, killed by SIGKILL at each operation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents.core.jose import SoftwareKey
from agents.io.state import StateFile
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.journal import OFFSETS, Journal
from edge_commander.wipe.record import Phase, WipeRecord
from tests.fakes import wipe_kit as kit
from tests.site_in_a_box.node_disk import NodeDisk, run
from tests.site_in_a_box.wrong_clock import TEN_YEARS, WrongClock

LINES = 2000
SECRET = "customer {:06d} paid with card 4929-{:08d}\n"
SIZES = {"journal": 1, "ident": 8, "keep": 8, "conf": 8, "var": 48}
ROOT = Path(__file__).parents[3]


class Node:
    """A disk that held a node's life, and the configuration of its early boot."""

    def __init__(self, disk: NodeDisk, folder: Path) -> None:
        self.disk = disk
        self.ident = folder / "ident"
        self.config = folder / "galley.yaml"
        operators = folder / "operators.json"
        operators.write_text(json.dumps({"v": 1, "operators": [kit.OPERATOR.public]}))
        section = {"keys_dir": str(self.ident), "operators_file": str(operators), "wipe": disk.config()}
        self.config.write_text(json.dumps({"v": 1, "edge_commander": section}))

    def arm(self, key: SoftwareKey = kit.OPERATOR, **changed: object) -> None:
        with Disk(self.disk.device["journal"]) as device:
            Journal(device).write_both(kit.armed(key, **changed))

    def record(self) -> WipeRecord | None:
        with Disk(self.disk.device["journal"]) as device:
            return Journal(device).record

    def boot(self, kill_at: int = 0, clock: WrongClock | None = None) -> subprocess.CompletedProcess[str]:
        """The early boot, in a mount namespace of its own as there: killed, it leaves nothing mounted."""
        own = ["unshare", "-m", sys.executable, "-m", "tests.site_in_a_box.wipe_process"]
        command = [*own, str(self.config), str(self.ident), str(kill_at)]
        env = os.environ | (clock.environ() if clock is not None else {})
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


class Mounted:
    def __init__(self, device: Path, folder: Path, options: str) -> None:
        self.device, self.folder, self.options = device, folder, options

    def __enter__(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        run("mount", "-o", self.options, str(self.device), str(self.folder))
        return self.folder

    def __exit__(self, *_: object) -> None:
        run("umount", str(self.folder))


def fill(device: Path, folder: Path, size: str = "") -> None:
    """An ext4 file system with a secret of 2,000 lines on it."""
    run("mkfs.ext4", "-q", "-F", str(device), *([size] if size else []))
    with Mounted(device, folder, "rw") as place:
        (place / "secret").write_text("".join(SECRET.format(n, n * 7919) for n in range(LINES)))
        os.sync()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node-disk")
    with NodeDisk(folder, SIZES) as disk:
        for name in ("keep", "conf"):
            fill(disk.device[name], folder / name)
        fill(disk.device["var"], folder / "var", "14M")
        key = folder / "luks.key"
        key.write_text("correct horse")
        run("cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "32M", "--batch-mode",
            "--key-file", str(key), "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
            str(disk.device["var"]))  # fmt: skip
        run("mkfs.ext4", "-q", "-F", str(disk.device["ident"]))
        one = Node(disk, folder)
        with Mounted(disk.device["ident"], one.ident, "rw") as place:
            StateFile(place / STATE_NAME, NodeRecord).save(NodeRecord(node=kit.NODE, site=kit.SITE))
        disk.keep()
        yield one


@pytest.fixture
def fresh(node: Node) -> Node:
    node.disk.back()
    return node


def lines_left(raw: bytes) -> int:
    """How many of the secret's lines are there in part or whole; `paid with card` is in each."""
    return raw.count(b"paid with card")


def test_nothing_of_a_secret_is_left_and_what_is_kept_is_the_same(fresh: Node) -> None:
    disk = fresh.disk
    assert lines_left(disk.raw("conf")) == LINES
    assert disk.raw("var").startswith(b"LUKS\xba\xbe")
    kept = disk.digest("ident", "keep")
    fresh.arm()
    done = fresh.boot()
    assert done.returncode == 0, done.stderr
    record = fresh.record()
    assert record is not None
    assert (record.phase, [one.method.value for one in record.targets]) == (Phase.DONE, ["header", "blocks"])
    assert disk.digest("ident", "keep") == kept
    assert [lines_left(disk.raw(name)) for name in ("conf", "var")] == [0, 0]
    area = record.targets[0].area
    assert disk.raw("var")[:area] == bytes(area)
    failed = subprocess.run(["cryptsetup", "isLuks", str(disk.device["var"])], check=False)
    assert failed.returncode != 0
    run("e2fsck", "-fn", str(disk.device["conf"]))
    with Mounted(disk.device["conf"], fresh.ident.with_name("look"), "ro") as place:
        assert [one.name for one in place.iterdir()] == ["lost+found"]


def test_what_is_made_anew_is_what_a_node_has_at_first(fresh: Node) -> None:
    """Whatever mke2fs.conf is on this machine: with a journal, and times past 2038."""
    fresh.arm()
    assert fresh.boot().returncode == 0
    device = str(fresh.disk.device["conf"])
    assert run("blkid", "-p", "-o", "value", "-s", "TYPE", device).strip() == "ext4"
    said = run("dumpe2fs", "-h", device)
    features = next(line for line in said.splitlines() if line.startswith("Filesystem features:")).split()
    assert {"has_journal", "extent", "metadata_csum", "64bit", "ext_attr"} <= {*features}
    assert re.search(r"^Inode size:\s+256$", said, re.MULTILINE)


def test_killed_at_each_operation_it_ends_as_the_undisturbed_one(fresh: Node) -> None:
    """With real processes, each point once; then the start that finishes."""
    disk = fresh.disk
    fresh.arm()
    disk.keep("armed")
    undisturbed = fresh.boot()
    operations = int(undisturbed.stdout)
    expected = disk.digest("ident", "keep", "conf", "var")
    assert operations >= 30
    for at in range(1, operations + 1):
        disk.back("armed")
        assert fresh.boot(at).returncode == -9, f"killed at {at}"
        again = fresh.boot()
        assert again.returncode == 0, f"killed at {at}: {again.stderr}"
        assert disk.digest("ident", "keep", "conf", "var") == expected, f"killed at {at}"
        record = fresh.record()
        assert record is not None
        assert record.phase is Phase.DONE


@pytest.mark.parametrize("year", [1970, 2036])
def test_whatever_the_clock_says_it_ends_the_same(fresh: Node, tmp_path: Path, year: int) -> None:
    """A box whose battery is empty starts in 1970: what was judged when it was armed is not judged by that."""
    disk = fresh.disk
    fresh.arm()
    disk.keep("armed")
    assert fresh.boot().returncode == 0
    expected = disk.digest("ident", "keep", "conf", "var")
    disk.back("armed")
    wrong = WrongClock(tmp_path / "clock", TEN_YEARS if year > 1970 else 3600 - int(time.time()))
    done = fresh.boot(clock=wrong)
    assert done.returncode == 0, done.stderr
    assert disk.digest("ident", "keep", "conf", "var") == expected


def test_full_partitions_are_erased_like_others(fresh: Node) -> None:
    disk = fresh.disk
    for name in ("ident", "keep", "conf"):
        with Mounted(disk.device[name], fresh.ident.with_name(f"full-{name}"), "rw") as place:
            with suppress(OSError), (place / "till").open("wb") as file:
                while True:
                    file.write(b"paid with card" * 4096)
            assert os.statvfs(place).f_bavail == 0
    kept = disk.digest("ident", "keep")
    fresh.arm()
    done = fresh.boot()
    assert done.returncode == 0, done.stderr
    assert disk.digest("ident", "keep") == kept
    assert lines_left(disk.raw("conf")) == 0


@pytest.mark.parametrize("damage", ["first slot", "second slot", "both", "stranger"])
def test_what_must_not_wipe_does_not(fresh: Node, damage: str) -> None:
    disk = fresh.disk
    if damage in ("first slot", "second slot"):
        fresh.arm()
        fresh.boot()
        fill(disk.device["conf"], fresh.ident.with_name("again"))
    else:
        fresh.arm(kit.STRANGER if damage == "stranger" else kit.OPERATOR)
    before = disk.digest("ident", "keep", "conf", "var")
    slots = {"first slot": OFFSETS[:1], "second slot": OFFSETS[1:], "both": OFFSETS, "stranger": ()}[damage]
    with Disk(disk.device["journal"]) as device:
        for offset in slots:
            device.write(offset, b"\xff" * 4096)
        device.flush()
    done = fresh.boot()
    assert done.returncode == 0, done.stderr
    assert disk.digest("ident", "keep", "conf", "var") == before


def test_what_is_mounted_is_never_erased(fresh: Node) -> None:
    """The device is in use: the attempts end, the target stays unmounted for the units that require this one."""
    fresh.arm(targets=["conf"])
    with Mounted(fresh.disk.device["conf"], fresh.ident.with_name("used"), "ro"):
        done = fresh.boot()
    assert done.returncode == 1
    assert "busy" in done.stderr
    record = fresh.record()
    assert record is not None
    assert record.phase is Phase.FAILED
    assert lines_left(fresh.disk.raw("conf")) == LINES


def test_a_dry_run_says_what_would_be_done_and_touches_nothing(fresh: Node) -> None:
    before = fresh.disk.digest("ident", "keep", "conf", "var", "journal")
    said = run(sys.executable, "-m", "edge_commander", "wipe", "--dry-run", "--config", str(fresh.config), "var",
               "conf", cwd=ROOT)  # fmt: skip
    assert said.splitlines() == [
        " 1. look at var, conf, and record how to erase",
        " 2. var: overwrite LUKS headers and key slots (16 MiB) with zeros",
        " 3. var: read 16 MiB back, all must be zeros",
        " 4. conf: overwrite every block (8 MiB) with zeros",
        " 5. conf: read 8 MiB back, all must be zeros",
        " 6. conf: make a new ext4 file system",
        " 7. record that it is done, in both slots of the journal",
    ]
    assert fresh.disk.digest("ident", "keep", "conf", "var", "journal") == before
