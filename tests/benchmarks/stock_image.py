"""Debian as it comes, to compare a NUC's image with: the same packages, and nothing of them slimmed.

Its own initrd with most modules, all its kernel modules packed, its units as the packages enable them, root on ext4,
checked and written to. Kept in the cache beside the others. Needs root.
"""

from __future__ import annotations

import shutil
import uuid
from functools import partial
from pathlib import Path

from images.nuc import build, chroot, disk, kernel, root
from tests.benchmarks.bare_image import EPOCH, make_disk, packages

RECIPE = "1"  # one more whenever it is made in another way
CMDLINE = "rw console=ttyS0 console=tty0 quiet panic=30 systemd.show_status=auto"
ROOT = uuid.uuid5(disk.NAMESPACE, "stock root")
FSTAB = f"PARTUUID={ROOT} / ext4 defaults 0 1\n"
PARTITIONS = {
    "10-esp.conf": "Type=esp\nFormat=vfat\nSizeMinBytes=256M\nCopyFiles=/run/stage/esp:/\n",
    "20-root.conf": f"Type=root-x86-64\nUUID={ROOT}\nFormat=ext4\nSizeMinBytes=2G\nCopyFiles=/run/tree:/\n",
}


def ensure() -> build.Built:
    """The image, made where it is missing (two minutes). Raises BuildError."""
    tools = build.toolbox()
    parts = [RECIPE, tools.name, *packages()]
    what = "a stock Debian to compare with"
    return build.Built(build.kept("stock", parts, partial(_make, tools), what=what, seconds=120), tools)


def _make(tools: Path, new: Path) -> None:
    tree, stage = new / "tree", new / "stage"
    (stage / "definitions").mkdir(parents=True)
    chroot.make(tree, tools.parent / "debs", packages(), variant="minbase")
    network = "network/80-galley.network"
    shutil.copy(root.FILES / "usr/lib/systemd" / network, tree / "etc/systemd" / network)
    (tree / "etc/fstab").write_text(FSTAB)
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/resolv.conf")
    chroot.inside(tree, "systemctl", "enable", "systemd-networkd.service", "systemd-resolved.service")
    release = kernel.version(tree)
    shutil.copy(tree / "boot" / f"vmlinuz-{release}", stage / "vmlinuz")
    chroot.inside(tree, "mkinitramfs", "-o", "/boot/initrd.made", release, epoch=EPOCH)
    shutil.move(tree / "boot/initrd.made", stage / "initrd")
    for name, text in PARTITIONS.items():
        (stage / "definitions" / name).write_text(f"[Partition]\n{text}")
    make_disk(tools, new, f"root=PARTUUID={ROOT} {CMDLINE}")
