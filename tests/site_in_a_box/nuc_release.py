"""Releases of the image for the tests, made out of a built one in seconds: another version, slim, whole or broken.

`good`, `dead` and `ill` make root.img and both kernels of a release into a folder.
`installed(built, file)` is a node's disk as the first boot from a stick leaves it, without that boot. Needs root.
"""

from __future__ import annotations

import glob
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from images.nuc import chroot, disk, root
from images.nuc.build import PARTS, Built
from tests.site_in_a_box.gpt import partitions

REPART = root.FILES / "usr/lib/galley/repart"
DISK_GIB = 8
CLUSTER = (
    "usr/bin/containerd*", "usr/bin/ctr", "usr/bin/git*", "usr/lib/git-core", "usr/lib/cni", "usr/sbin/runc",
    "usr/bin/runc", "usr/lib/modules/*/kernel/drivers/gpu", "usr/lib/modules/*/kernel/drivers/net/ethernet",
    "usr/lib/systemd/system/multi-user.target.wants/containerd.service",
)  # fmt: skip
"""What a node needs only for its cluster, none of which is in these tests: less to fetch over an emulated line."""
SHELL = ("bin", "lib", "lib64", "usr/bin/sh", "usr/bin/dash", "usr/lib64", "usr/lib/x86_64-linux-gnu/libc.so.6",
         "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/os-release")  # fmt: skip
"""What a first process needs that is a script."""


def good(built: Built, folder: Path, version: str) -> Path:
    """The same, slim, by another version."""
    return _release(built, folder, version, _slim)


def ill(built: Built, folder: Path, version: str) -> Path:
    """It starts, and one of the suite's units does not."""

    def change(tree: Path, _: Path) -> Path:
        unit = tree / "usr/lib/systemd/system/galley-heartbeat.service"
        unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/false", unit.read_text()))
        return _slim(tree, _)

    return _release(built, folder, version, change)


def dead(built: Built, folder: Path, version: str) -> Path:
    """Its first process ends at once: the kernel panics."""

    def change(tree: Path, bare: Path) -> Path:
        for name in root.STUBS:
            (bare / name).mkdir(parents=True, exist_ok=True)
        for name in SHELL:
            (bare / name).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", str(tree / name), str(bare / name)], check=True)
        early = bare / "usr/lib/galley/early"
        early.parent.mkdir()
        early.write_text("#!/bin/sh\nexit 1\n")
        early.chmod(0o755)
        return bare

    return _release(built, folder, version, change)


def _slim(tree: Path, _: Path) -> Path:
    chroot.discard(*(tree / one for pattern in CLUSTER for one in glob.glob(pattern, root_dir=tree)))  # noqa: PTH207
    return tree


def _release(built: Built, folder: Path, version: str, change: Callable[[Path, Path], Path]) -> Path:
    """`change`: of the image's root (a layer over it) and an empty folder, to the tree that is to be the root."""
    folder.mkdir(parents=True)
    lower, upper, work, tree, bare = places = [folder / name for name in ("lower", "upper", "work", "tree", "bare")]
    for place in places:
        place.mkdir()
    subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", str(built.root), str(lower)], check=True)
    try:
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(tree)], check=True)
        try:
            changed = change(tree, bare)
            root.name_image(changed, version)
            _make(built, changed, folder)
        finally:
            subprocess.run(["umount", str(tree)], check=True)
    finally:
        subprocess.run(["umount", str(lower)], check=True)
    chroot.discard(*places, *(folder / name for name in PARTS))
    return folder


def _make(built: Built, tree: Path, folder: Path) -> None:
    epoch = int((built.folder / "epoch").read_text())
    for name in PARTS:
        shutil.copy(built.folder / name, folder / name)
    shutil.copy(tree / "usr/lib/os-release", folder / "os-release")
    name = disk.make_root(built.toolbox, tree, folder, epoch)
    kernel = (built.folder / "kernel-version").read_text().strip()
    disk.make_kernels(built.toolbox, kernel, folder, name, epoch)


def installed(built: Built, file: Path) -> Path:
    """A node's disk, sparse: esp and root-a are the image's, the others are made as early boot makes them."""
    subprocess.run(["cp", "--sparse=always", str(built.disk), str(file)], check=True)
    with file.open("r+b") as stream:
        stream.truncate(DISK_GIB * 2**30)
    chroot.inside(
        built.toolbox, "systemd-repart", "--dry-run=no", "--empty=refuse", "--offline=yes", "--no-pager",
        "--sector-size=512", "--definitions=/run/repart", f"/run/disk/{file.name}",
        binds={REPART: "repart", file.parent: "disk"},
    )  # fmt: skip
    return file


def entries(built: Built, file: Path) -> list[str]:
    """The boot loader's entries on a disk's esp, as a machine that is off left them."""
    at = f"/run/disk/{file.name}@@{partitions(file)['esp'].start}"
    listed = chroot.inside(built.toolbox, "mdir", "-b", "-i", at, "::EFI/Linux", binds={file.parent: "disk"})
    return sorted(line.rpartition("/")[2].strip() for line in listed.splitlines() if line.strip())


def rename_entry(built: Built, file: Path, name: str, new: str) -> None:
    """Of a machine that is off: as the boot loader does when it takes a try."""
    at = f"/run/disk/{file.name}@@{partitions(file)['esp'].start}"
    chroot.inside(built.toolbox, "mren", "-i", at, f"::EFI/Linux/{name}", new, binds={file.parent: "disk"})
