"""Debian as it comes, to compare a NUC's image with: the same packages, and nothing of them slimmed.

Its own initrd with most modules, all its kernel modules packed, its units as the packages enable them, root on ext4,
checked and written to. Kept in the cache beside the others. Needs root.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from images.nuc import build, chroot, disk, kernel, root
from tests.benchmarks.bare_image import EPOCH, packages

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
    target = tools.parent / f"stock-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    if not target.is_dir():
        chroot.say("making a stock Debian to compare with (expected: 120 s)")
        new = target.with_name("stock.new")
        chroot.discard(new, *target.parent.glob("stock-*"))
        (new / "stage/esp/EFI/BOOT").mkdir(parents=True)
        _make(tools, new / "tree", new / "stage")
        (new / "stage/disk.raw").rename(new / build.NAME)
        chroot.discard(new / "tree", new / "stage")
        new.rename(target)
    return build.Built(target, tools)


def _make(tools: Path, tree: Path, stage: Path) -> None:
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
    chroot.inside(
        tools, "ukify", "build", "--linux=/run/stage/vmlinuz", "--initrd=/run/stage/initrd",
        f"--cmdline=root=PARTUUID={ROOT} {CMDLINE}", f"--uname={release}", f"--stub={disk.STUB}",
        "--output=/run/stage/esp/EFI/BOOT/BOOTX64.EFI", binds={stage: "stage"}, epoch=EPOCH,
    )  # fmt: skip
    (stage / "definitions").mkdir()
    for name, text in PARTITIONS.items():
        (stage / "definitions" / name).write_text(f"[Partition]\n{text}")
    chroot.inside(
        tools, "systemd-repart", "--empty=create", "--size=auto", "--offline=yes", "--sector-size=512",
        "--dry-run=no", "--definitions=/run/stage/definitions", "--no-pager", "/run/stage/disk.raw",
        binds={stage: "stage", tree: "tree"}, epoch=EPOCH,
    )  # fmt: skip
