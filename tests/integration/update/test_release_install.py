"""A release goes into the idle slot of real devices: killed anywhere, no entry ever starts a root that is not whole."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.release import ImageRelease, ReleaseFile
from agents.core.errors import Rejected, Retryable
from agents.core.releases import sign_release
from edge_commander.settings import UpdateSettings
from edge_commander.update import entries, install, slots
from edge_commander.update.record import UpdateRecord
from tests.fakes import trust_kit
from tests.site_in_a_box.node_disk import run

ROOT = Path(__file__).parents[3]
DATA = random.Random(3).randbytes(9_000_001)  # neither of blocks nor of chunks
OLD = random.Random(4).randbytes(8_000_000)


def digest(data: bytes) -> ReleaseFile:
    return ReleaseFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


RELEASE = ImageRelease(version="1.3.0", root=digest(DATA), kernel_a=digest(b"kernel a"), kernel_b=digest(b"kernel b"),
                       issued=trust_kit.NOW)  # fmt: skip


def order(disks: Disks, version: str = "1.3.0") -> UpdateRecord:
    sha256 = hashlib.sha256((disks.fetched / "release.json").read_bytes()).hexdigest()
    return UpdateRecord(id="a" * 32, version=version, sha256=sha256, address="https://images.example")


class Disks:
    """Two roots as loop devices, an ESP as a folder, a release that was fetched."""

    def __init__(self, folder: Path) -> None:
        self.devices = []
        for slot in ("a", "b"):
            image = folder / f"root-{slot}.img"
            image.write_bytes(OLD.ljust(12 << 20, b"\0"))
            self.devices.append(Path(run("losetup", "--show", "-f", str(image)).strip()))
        self.esp = folder / "efi"
        self.place = self.esp / entries.FOLDER
        self.place.mkdir(parents=True)
        self.fetched = folder / "fetched"
        self.fetched.mkdir()
        (self.fetched / "release.json").write_bytes(sign_release(RELEASE, [trust_kit.ALICE]))
        self.fill()
        self.settings = UpdateSettings(root_a=str(self.devices[0]), root_b=str(self.devices[1]), esp=str(self.esp))

    def fill(self) -> None:
        (self.fetched / "root.img").write_bytes(DATA)
        (self.fetched / "kernel-b.efi").write_bytes(b"kernel b")

    def before(self) -> None:
        """The node runs 1.2.0 from a; b holds the release before."""
        for one in self.place.iterdir():
            one.unlink()
        (self.place / "galley_1.2.0_a.efi").write_bytes(b"kernel 1.2.0")
        (self.place / "galley_1.1.0_b.efi").write_bytes(b"kernel 1.1.0")
        (self.place / "vendor.efi").write_bytes(b"not ours")
        with self.devices[1].open("r+b") as device:
            device.write(OLD)
            os.fsync(device.fileno())

    def run(self, kill_at: int = 0) -> subprocess.CompletedProcess[str]:
        words = [msgspec.json.encode(self.settings).decode(), str(self.fetched), "b", str(kill_at)]
        command = [sys.executable, "-m", "tests.site_in_a_box.install_process", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def names(self) -> set[str]:
        return {one.name for one in self.place.iterdir() if not one.name.startswith(".")}

    def root_b(self) -> bytes:
        run("blockdev", "--flushbufs", str(self.devices[1]))
        return self.devices[1].read_bytes()[: len(DATA)]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    one = Disks(tmp_path_factory.mktemp("slots"))
    yield one
    for device in one.devices:
        subprocess.run(["losetup", "-d", str(device)], check=False)


def test_it_is_there_whole_and_the_entry_that_runs_is_untouched(disks: Disks) -> None:
    disks.before()
    done = disks.run()
    assert done.returncode == 0, done.stderr
    assert disks.root_b() == DATA
    assert disks.names() == {"galley_1.2.0_a.efi", "galley_1.3.0_b+3.efi", "vendor.efi"}
    assert (disks.place / "galley_1.3.0_b+3.efi").read_bytes() == b"kernel b"


def test_killed_at_each_operation_no_entry_starts_a_root_that_is_not_whole(disks: Disks) -> None:
    disks.before()
    count = int(disks.run().stdout)
    assert count > 10
    for at in range(1, count + 1):
        disks.before()
        assert disks.run(at).returncode == -9, at
        names = disks.names()
        assert {"galley_1.2.0_a.efi", "vendor.efi"} <= names, at
        if "galley_1.1.0_b.efi" in names:
            assert disks.root_b()[: len(OLD)] == OLD, at
        if "galley_1.3.0_b+3.efi" in names:
            assert disks.root_b() == DATA, at
        assert disks.run().returncode == 0, at
        assert disks.names() == {"galley_1.2.0_a.efi", "galley_1.3.0_b+3.efi", "vendor.efi"}, at
        assert disks.root_b() == DATA, at


@pytest.mark.parametrize(
    ("name", "content", "words", "begun"),
    [
        ("root.img", DATA[:-1] + b"x", "is not what the release says", True),
        ("root.img", DATA[:-1], "is not a file of the release's size", False),
        ("kernel-b.efi", b"kernel x", "is not what the release says", True),
        ("kernel-b.efi", b"kernel", "is not a file of the release's size", False),
    ],
)
def test_what_changed_after_it_was_checked_gets_no_entry(
    disks: Disks, name: str, content: bytes, words: str, *, begun: bool
) -> None:
    """Where nothing was begun, the entry of the release before stays."""
    disks.before()
    (disks.fetched / name).write_bytes(content)
    try:
        with pytest.raises(Rejected, match=words):
            install.put("b", RELEASE, disks.fetched, disks.settings, lambda text: None)
        assert ("galley_1.1.0_b.efi" in disks.names()) is not begun
        assert disks.names() - {"galley_1.1.0_b.efi"} == {"galley_1.2.0_a.efi", "vendor.efi"}
    finally:
        disks.fill()


def test_a_link_is_not_followed(disks: Disks, tmp_path: Path) -> None:
    disks.before()
    (disks.fetched / "root.img").unlink()
    (disks.fetched / "root.img").symlink_to("/etc/shadow")
    try:
        with pytest.raises(Retryable, match=r"root\.img"):
            install.put("b", RELEASE, disks.fetched, disks.settings, lambda text: None)
    finally:
        (disks.fetched / "root.img").unlink()
        disks.fill()


def test_a_partition_that_is_too_small_is_said_before_anything_is_written(disks: Disks, tmp_path: Path) -> None:
    disks.before()
    small = tmp_path / "small.img"
    small.write_bytes(b"\0" * (1 << 20))
    settings = msgspec.structs.replace(disks.settings, root_b=str(small))
    with pytest.raises(Rejected, match="its partition 1048576"):
        install.put("b", RELEASE, disks.fetched, settings, lambda text: None)
    assert small.read_bytes() == b"\0" * (1 << 20)
    assert "galley_1.1.0_b.efi" in disks.names(), "what is refused costs no image"


def test_of_two_at_once_the_second_changes_nothing(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the commander is started anew while root is at work for the one before."""
    disks.before()
    add, said = install._add, list[str]()

    def meanwhile(*given: Any) -> None:
        second = disks.run()
        said.append(f"{second.returncode}: {second.stderr.strip().splitlines()[-1] if second.stderr else ''}")
        add(*given)

    monkeypatch.setattr(install, "_add", meanwhile)
    install.put("b", RELEASE, disks.fetched, disks.settings, lambda text: None)
    assert said[0].startswith("1: ") and "Device or resource busy" in said[0]
    assert disks.root_b() == DATA and "galley_1.3.0_b+3.efi" in disks.names()


def test_only_a_machine_that_runs_from_one_of_the_two_has_another(disks: Disks, tmp_path: Path) -> None:
    assert slots.running(disks.settings) == ""
    with pytest.raises(Rejected, match="does not run from one of two roots"):
        install.install(order(disks), disks.fetched, disks.settings, trust_kit.operators(), lambda text: None)
    run("mkfs.ext4", "-q", "-F", str(disks.devices[0]))
    place = tmp_path / "root"
    place.mkdir()
    run("mount", "-o", "ro", str(disks.devices[0]), str(place))
    try:
        assert slots.running(disks.settings, place) == "a"
    finally:
        run("umount", str(place))


def test_a_release_of_nobody_s_is_refused_as_root_too(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.before()
    monkeypatch.setattr(slots, "running", lambda settings: "a")
    with pytest.raises(Rejected, match="signed by an unknown key"):
        other = trust_kit.operators_document(keys=[trust_kit.OperatorKey(name="eve", key=trust_kit.BOB.public)])
        install.install(order(disks), disks.fetched, disks.settings, trust_kit.operators_of(other), lambda text: None)
    assert "galley_1.1.0_b.efi" in disks.names()
    assert install.install(order(disks), disks.fetched, disks.settings, trust_kit.operators(), lambda text: None) == "b"
