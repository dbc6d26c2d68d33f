"""From a tree to a disk image: the root's file system, the unified kernel image, the partitions. Runs the toolbox.

The same tree gives the same bytes: every time is `epoch`, every UUID follows from what it names.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from images.nuc import chroot, kernel
from images.nuc.lists import HERE

NAMESPACE = uuid.UUID("3b1f1d0e-52a6-5a6f-9f0e-6a3d1c55b7a4")
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
CMDLINE = (
    "rootfstype=erofs ro init=/usr/lib/galley/early console=ttyS0 console=tty0 quiet panic=30 "
    "systemd.gpt_auto=no systemd.show_status=auto"
)
ROOT_BYTES = 1536 * 1024 * 1024


def name_of(digest: str) -> str:
    """The root partition's UUID: that of its content, so that kernel and root of two versions never meet."""
    return str(uuid.uuid5(NAMESPACE, digest))


def make_root(toolbox: Path, tree: Path, stage: Path, epoch: int) -> str:
    """`stage/root.erofs`; returns its SHA-256. Raises BuildError, also where it outgrows its partition."""
    chroot.inside(
        toolbox, "mkfs.erofs", "-zlz4hc", f"-T{epoch}", "--all-time",
        f"-U{uuid.uuid5(NAMESPACE, f'root {epoch}')}", "--quiet", "/run/stage/root.erofs", "/run/tree",
        binds={tree: "tree", stage: "stage"}, epoch=epoch,
    )  # fmt: skip
    file = stage / "root.erofs"
    if (size := file.stat().st_size) > ROOT_BYTES:
        raise chroot.BuildError(f"the root has {size} bytes, its partition {ROOT_BYTES}")
    return sha256(file)


def make_kernel(toolbox: Path, tree: Path, stage: Path, root: str, epoch: int) -> None:
    """The unified kernel image where firmware looks for it. `root`: the root partition's UUID."""
    place = stage / "esp/EFI/BOOT"
    place.mkdir(parents=True)
    shutil.copy(tree / "usr/lib/os-release", stage / "os-release")
    chroot.inside(
        toolbox, "ukify", "build", "--linux=/run/stage/vmlinuz", "--initrd=/run/stage/initrd",
        f"--cmdline=root=PARTUUID={root} {CMDLINE}", "--os-release=@/run/stage/os-release",
        f"--uname={kernel.version(tree)}", f"--stub={STUB}", "--output=/run/stage/esp/EFI/BOOT/BOOTX64.EFI",
        binds={stage: "stage"}, epoch=epoch,
    )  # fmt: skip


def make_disk(toolbox: Path, stage: Path, root: str, epoch: int) -> Path:
    """`stage/disk.raw`: the esp and root-a; the machine itself makes the others."""
    shutil.copytree(HERE / "partitions", stage / "definitions")
    with (stage / "definitions/20-root-a.conf").open("a") as file:
        file.write(f"UUID={root}\n")
    for path in [*(stage / "esp").rglob("*"), stage / "esp"]:
        chroot.run("touch", "--no-dereference", f"--date=@{epoch}", str(path))
    seed = uuid.uuid5(NAMESPACE, f"disk {root}")
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
