"""The kernel's modules that an image keeps, unpacked, and its initrd. Touches the tree that is being made."""

from __future__ import annotations

import fnmatch
import lzma
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.nuc import chroot, lists

HOOK = """\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules MODULES
"""
"""Adds them. Those of the file `modules` would all be loaded, a disk's of each kind, whatever the machine has."""
INITRAMFS = """\
MODULES=list
BUSYBOX=y
COMPRESS=zstd
COMPRESSLEVEL=10
RUNSIZE=10%
"""
"""No FSTYPE=: the root's erofs has no check, and what is to be repaired early boot repairs itself. With it the initrd
got `fsck` alone, whose complaint was the first line on each screen."""


def version(tree: Path) -> str:
    """The one kernel in the tree. Raises BuildError."""
    found = sorted(path.name for path in (tree / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise chroot.BuildError(f"one kernel is expected in the tree, found: {', '.join(found) or 'none'}")
    return found[0]


def wanted(dependencies: Mapping[str, Sequence[str]], globs: Sequence[str]) -> set[str]:
    """The modules (paths below the version's folder) that a glob names, and all that they need. Pure."""
    todo = [name for name in dependencies if any(fnmatch.fnmatch(_plain(name), f"kernel/{one}") for one in globs)]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += dependencies.get(name, ())
    return found


def _plain(name: str) -> str:
    return name.removesuffix(".xz")


def keep_modules(tree: Path) -> None:
    """Removes the others, unpacks these (a file system that is compressed itself serves them quicker), and indexes."""
    release = version(tree)
    folder = tree / "usr/lib/modules" / release
    table: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        table[name] = needs.split()
    keep = wanted(table, lists.read("modules"))
    for file in [path for path in (folder / "kernel").rglob("*.ko*") if path.is_file()]:
        name = str(file.relative_to(folder))
        if name in keep and file.suffix == ".xz":
            file.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
        if name not in keep or file.suffix == ".xz":
            file.unlink()
    for place in sorted((path for path in (folder / "kernel").rglob("*") if path.is_dir()), reverse=True):
        if not any(place.iterdir()):
            place.rmdir()
    chroot.inside(tree, "depmod", release)


def make_initrd(tree: Path, target: Path, epoch: int) -> None:
    """The initrd by initramfs-tools, with the modules of `initrd-modules.txt`: it finds the root, and no more."""
    own = tree / "etc/initramfs-tools"
    (own / "initramfs.conf").write_text(INITRAMFS)
    hook = own / "hooks/galley"
    hook.write_text(HOOK.replace("MODULES", " ".join(lists.read("initrd-modules"))))
    hook.chmod(0o755)
    (own / "conf.d/resume").write_text("RESUME=none\n")
    release = version(tree)
    made = tree / "boot/initrd.made"
    chroot.inside(tree, "mkinitramfs", "-o", "/boot/initrd.made", release, epoch=epoch)
    shutil.move(made, target)
