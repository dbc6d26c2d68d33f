"""The image's root as a tree: Debian's packages and the suite's dependencies (kept, as they change seldom), then the
suite, the image's own files, and nothing that a node does not use. Needs root.
"""

from __future__ import annotations

import glob
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from images.nuc import chroot, kernel, lists, units
from tests.site_in_a_box import host_tree

FILES = Path(__file__).resolve().parent / "files"
SCRIPTS = Path(__file__).resolve().parent / "initrd"
IMAGE_ID = "galley-nuc"
REPOSITORY = Path(__file__).resolve().parents[2]
WITHOUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
LICENCES = "/usr/share/doc/*/copyright"
STUBS = (
    "boot", "dev", "efi", "etc/kubernetes", "opt/cni/bin", "proc", "root", "run", "srv", "sys", "tmp", "var/tmp",
)  # fmt: skip
"""Folders that are empty here, and something is mounted on or made in."""


def make_base(tree: Path, debs: Path) -> None:
    """Packages, modules and the suite's dependencies, all compiled: what only packages and the lock file change."""
    excluded = [f"--dpkgopt=path-exclude={path}" for path in WITHOUT]
    options = [*excluded, f"--dpkgopt=path-include={LICENCES}"]
    chroot.make(tree, debs, lists.read("packages"), variant="minbase", options=options)
    kernel.keep_modules(tree)
    host_tree.lay_dependencies(tree)
    host_tree.compile_modules(tree, tree / f"usr/lib/python{host_tree.PYTHON}")


def make(tree: Path, initrd: Path, epoch: int, version: str, cluster: Iterable[tuple[Path | str, str]]) -> None:
    """Turns a copy of the base into the root. `version`: the image's; `cluster`: files or texts to lay in, and where
    to."""
    host_tree.install_suite(tree, units=units.UNITS, users="usr/lib")
    shutil.copytree(FILES, tree, dirs_exist_ok=True)
    for source, target in cluster:
        place = tree / target
        place.parent.mkdir(parents=True, exist_ok=True)
        runs = isinstance(source, Path) and source.stat().st_mode & 0o100
        shutil.copy(source, place) if isinstance(source, Path) else place.write_text(source)
        place.chmod(0o755 if runs else 0o644)
    docs = tree / "opt/galley/share/doc"
    docs.mkdir(parents=True, exist_ok=True)
    for file in (REPOSITORY / "docs").glob("*.md"):
        shutil.copy(file, docs)
    (tree / "usr/lib/galley/image-build").write_text(f"{epoch}\n")
    name_image(tree, version)
    (tree / "usr/lib/clock-epoch").write_text("")  # systemd sets a clock that is before this file's time
    units.enable(tree, REPOSITORY / "systemd")
    shutil.copytree(SCRIPTS, tree / "etc/initramfs-tools/scripts", dirs_exist_ok=True)
    _date(tree, epoch)  # an initrd keeps the times of files older than the epoch: those of a checkout, say
    kernel.make_initrd(tree, initrd, epoch)
    _strip(tree)
    _finish(tree, epoch)


def name_image(tree: Path, version: str) -> None:
    """What os-release(5) says of an image: the boot loader sorts by it, and an update ends by it."""
    file = tree / "usr/lib/os-release"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("IMAGE_")]
    file.write_text("\n".join([*lines, f"IMAGE_ID={IMAGE_ID}", f"IMAGE_VERSION={version}"]) + "\n")


def _strip(tree: Path) -> None:
    for pattern in lists.read("unused"):
        # glob's own, not Path's: that one passes over links that lead nowhere.
        chroot.discard(*(tree / found for found in glob.glob(pattern, root_dir=tree, include_hidden=True)))  # noqa: PTH207
    for name in STUBS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):  # units with a private /tmp start before var is mounted
        (tree / name).chmod(0o1777)
    (tree / "root").chmod(0o700)
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/resolv.conf")
    (tree / "etc/.updated").touch()


def _finish(tree: Path, epoch: int) -> None:
    """Whatever this machine's umask and clock: modes of what was laid in, and one time for everything."""
    for source in FILES.rglob("*"):
        runs = source.is_dir() or source.stat().st_mode & 0o100
        (tree / source.relative_to(FILES)).chmod(0o755 if runs else 0o644)
    _date(tree, epoch)


def _date(tree: Path, epoch: int) -> None:
    everything = ["find", str(tree), "-exec", "touch", "--no-dereference", f"--date=@{epoch}", "{}", "+"]
    subprocess.run(everything, check=True)
