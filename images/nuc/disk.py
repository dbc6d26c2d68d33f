"""From a tree to a disk image: the root's file system, the unified kernel images, the partitions. Runs the toolbox.

The same tree gives the same bytes: every time is `epoch`, every UUID follows from what it names. A kernel finds
its root by the UUID of the file system, which follows from the tree: those of two versions never meet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import uuid
from pathlib import Path

from edge_commander.update import entries
from images.nuc import chroot
from images.nuc.lists import HERE

NAMESPACE = uuid.UUID("3b1f1d0e-52a6-5a6f-9f0e-6a3d1c55b7a4")
LOADERS = "usr/lib/systemd/boot/efi"
STUB = f"/{LOADERS}/linuxx64.efi.stub"
SLOTS = ("a", "b")
LOADER = """\
# The newest entry that has tries left (systemd-boot sorts them so), at once, and nobody is asked.
timeout menu-disabled
editor no
auto-entries no
auto-firmware no
"""
CMDLINE = (
    "rootfstype=erofs ro init=/usr/lib/galley/early console=ttyS0 console=tty0 quiet panic=30 "
    "systemd.gpt_auto=no systemd.show_status=auto"
)
ROOT_BYTES = 1536 * 1024 * 1024


def name_of(tree: Path) -> str:
    """The UUID of the root's file system: of all that is in the tree."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        found = path.lstat()
        content = str(found.st_rdev)
        if stat.S_ISREG(found.st_mode):
            content = sha256(path)
        elif stat.S_ISLNK(found.st_mode):
            content = str(path.readlink())
        line = f"{path.relative_to(tree)}\0{found.st_mode:o} {found.st_uid} {found.st_gid} {content}\0"
        digest.update(os.fsencode(line))
    return str(uuid.uuid5(NAMESPACE, digest.hexdigest()))


def make_root(toolbox: Path, tree: Path, stage: Path, epoch: int) -> str:
    """`stage/root.img`; returns its file system's UUID. Raises BuildError, also where it outgrows its partition."""
    name = name_of(tree)
    chroot.inside(
        toolbox, "mkfs.erofs", "-zlz4hc", f"-T{epoch}", "--all-time", f"-U{name}", "--quiet",
        "/run/stage/root.img", "/run/tree", binds={tree: "tree", stage: "stage"}, epoch=epoch,
    )  # fmt: skip
    if (size := (stage / "root.img").stat().st_size) > ROOT_BYTES:
        raise chroot.BuildError(f"the root has {size} bytes, its partition {ROOT_BYTES}")
    return name


def make_kernels(toolbox: Path, release: str, stage: Path, root: str, epoch: int) -> None:
    """`stage/kernel-a.efi` and `-b`: unified kernel images of the two slots. `release`: the kernel's version; `root`:
    its file system's UUID. Wanted in `stage`: vmlinuz, initrd, os-release."""
    for slot in SLOTS:
        chroot.inside(
            toolbox, "ukify", "build", "--linux=/run/stage/vmlinuz", "--initrd=/run/stage/initrd",
            f"--cmdline=root=UUID={root} galley.slot={slot} {CMDLINE}", "--os-release=@/run/stage/os-release",
            f"--uname={release}", f"--stub={STUB}", f"--output=/run/stage/kernel-{slot}.efi",
            binds={stage: "stage"}, epoch=epoch,
        )  # fmt: skip


def make_disk(toolbox: Path, stage: Path, version: str, epoch: int) -> Path:
    """`stage/disk.raw`: the esp and root-a; the machine itself makes the others. The entry is one that is trusted."""
    esp, loader = stage / "esp", toolbox / LOADERS / "systemd-bootx64.efi"
    for source, target in (
        (loader, "EFI/BOOT/BOOTX64.EFI"),
        (stage / "kernel-a.efi", f"{entries.FOLDER}/{entries.trusted(version, 'a')}"),
    ):
        (esp / target).parent.mkdir(parents=True)
        shutil.copy(source, esp / target)
    (esp / "loader").mkdir()
    (esp / "loader/loader.conf").write_text(LOADER)
    shutil.copytree(HERE / "partitions", stage / "definitions")
    for path in [*esp.rglob("*"), esp]:
        chroot.run("touch", "--no-dereference", f"--date=@{epoch}", str(path))
    seed = uuid.uuid5(NAMESPACE, f"disk {sha256(stage / 'root.img')}")
    chroot.inside(
        toolbox, "systemd-repart", "--empty=create", "--size=auto", "--offline=yes", "--sector-size=512",
        "--dry-run=no", f"--seed={seed}", "--definitions=/run/stage/definitions", "--no-pager",
        "/run/stage/disk.raw", binds={stage: "stage"}, epoch=epoch,
    )  # fmt: skip
    return stage / "disk.raw"


def sha256(file: Path) -> str:
    """Of a file's content, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
