"""A bare image to compare a NUC's with: the same Debian, kernel, initrd, compression and early units, and no Galley.

Made by the same code from the system's part of `packages.txt`; kept in the cache beside the NUC's. Its root is
read-only too, `/var` is one ext4 partition, and the network is the image's. Needs root.
"""

from __future__ import annotations

import shutil
import uuid
from functools import partial
from pathlib import Path

from images.nuc import build, chroot, disk, kernel, lists, root
from images.nuc.lists import HERE

EPOCH = build.BASE_EPOCH
RECIPE = "3"  # one more whenever a bare image is made in another way
CMDLINE = "rootfstype=erofs ro console=ttyS0 console=tty0 quiet panic=30 systemd.gpt_auto=no systemd.show_status=auto"
FSTAB = "/dev/disk/by-partlabel/var /var ext4 nosuid,nodev,noatime 0 2\ntmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0\n"
KEPT_FILES = ("network/80-galley.network", "journald.conf.d/galley.conf", "resolved.conf.d/galley.conf")
"""Of the image's own files those that are Debian's settings: below usr/lib/systemd."""
SEED = uuid.uuid5(disk.NAMESPACE, "bare")


def packages() -> list[str]:
    """The system's part of packages.txt."""
    text = (HERE / "packages.txt").read_text().partition("# The system.\n")[2].partition("#")[0]
    return text.split()


def ensure() -> build.Built:
    """The bare image, made where it is missing (a minute). Raises BuildError."""
    tools = build.toolbox()
    parts = [RECIPE, tools.name, *packages(), *lists.read("modules"), *lists.read("initrd-modules"),
             *lists.read("masked"), *lists.read("unused")]  # fmt: skip
    what = "the bare image to compare with"
    return build.Built(build.kept("bare", parts, partial(_make, tools), what=what, seconds=60), tools)


def _make(tools: Path, new: Path) -> None:
    tree, stage = new / "tree", new / "stage"
    (stage / "definitions").mkdir(parents=True)
    chroot.make(tree, tools.parent / "debs", packages(), variant="minbase")
    kernel.keep_modules(tree)
    for name in KEPT_FILES:
        target = tree / "usr/lib/systemd" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(root.FILES / "usr/lib/systemd" / name, target)
    (tree / "etc/fstab").write_text(FSTAB)
    _units(tree)
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), stage / "vmlinuz")
    kernel.make_initrd(tree, stage / "initrd", EPOCH)
    root._strip(tree)
    (tree / "usr/lib/clock-epoch").write_text("")
    name = disk.make_root(tools, tree, stage, EPOCH)
    shutil.copytree(HERE / "partitions", stage / "definitions", dirs_exist_ok=True)
    with (stage / "definitions/20-root-a.conf").open("a") as file:
        file.write(f"UUID={name}\n")
    var = "[Partition]\nType=var\nLabel=var\nFormat=ext4\nSizeMinBytes=512M\nSizeMaxBytes=512M\n"
    (stage / "definitions/30-var.conf").write_text(var)
    make_disk(tools, new, f"root=PARTUUID={name} {CMDLINE}", f"--seed={SEED}")


def make_disk(tools: Path, new: Path, cmdline: str, *options: str) -> None:
    """`new`'s disk of its `tree` and `stage` (vmlinuz, initrd, repart's definitions), which go: the firmware starts the
    kernel without a boot loader. `options`: of systemd-repart."""
    tree, stage = new / "tree", new / "stage"
    (stage / "esp/EFI/BOOT").mkdir(parents=True)
    chroot.inside(
        tools, "ukify", "build", "--linux=/run/stage/vmlinuz", "--initrd=/run/stage/initrd",
        f"--cmdline={cmdline}", f"--uname={kernel.version(tree)}", f"--stub={disk.STUB}",
        "--output=/run/stage/esp/EFI/BOOT/BOOTX64.EFI", binds={stage: "stage"}, epoch=EPOCH,
    )  # fmt: skip
    chroot.inside(
        tools, "systemd-repart", "--empty=create", "--size=auto", "--offline=yes", "--sector-size=512",
        "--dry-run=no", *options, "--definitions=/run/stage/definitions", "--no-pager", "/run/stage/disk.raw",
        binds={stage: "stage", tree: "tree"}, epoch=EPOCH,
    )  # fmt: skip
    (stage / "disk.raw").rename(new / build.NAME)
    chroot.discard(tree, stage)


def _units(tree: Path) -> None:
    """The same system units as in the NUC's image, and the same ones masked."""
    from images.nuc import units

    for line in lists.read("units"):
        target, _, unit = line.partition(": ")
        if (tree / units.UNITS / unit).exists() and unit.startswith("systemd-"):
            units._link(tree, target, "wants", unit)
    for unit in lists.read("masked"):
        link = tree / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
