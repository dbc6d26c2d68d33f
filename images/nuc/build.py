"""`make image`: one bootable disk image for all NUCs, with its package list, SBOM and sizes beside it, and the files of
a release, by which nodes that run an older one are updated.

Kept outside the repository, keyed by what goes in: `$GALLEY_CACHE` (default `~/.cache/galley`), in `nuc/`. Packages are
fetched once; what they were stands in manifest.json, and a build that finds others says which (`--locked`: fails).
Needs root, mmdebstrap and Debian's packages.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from images.nuc import cluster, disk, kernel, lists, manifest, root, sbom
from images.nuc.chroot import BuildError, discard, make, run, say
from images.nuc.lists import HERE
from tests.site_in_a_box import host_tree
from tests.site_in_a_box.kube_build import cache_root

RECIPE = "1"  # one more whenever a base or a toolbox is made in another way
BASE_EPOCH = 1735689600
"""For what is made before the image's own time is known: 1 January 2025, Unix s."""
KEPT = 6
KEPT_TREES = 2
NAME = "galley-nuc.raw"
SUMS = "sha256"
VARIES = {"sizes.json"}
"""What two builds of the same may differ in: zstd's threads decide how it cuts."""
VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}", re.ASCII)
"""Of an image: as a release has it (agents.contracts.release)."""
RELEASE = ("root.img", "kernel-a.efi", "kernel-b.efi")
"""The files of a release: the root's file system, and what starts it from the one and the other slot."""
PARTS = ("vmlinuz", "initrd", "os-release")
"""What its kernels are made of: kept for who makes another release out of the same."""


@dataclass(frozen=True)
class Built:
    """A folder with the image (`disk`, raw, sparse), the files of a release (RELEASE), and what describes them."""

    folder: Path
    toolbox: Path

    @property
    def disk(self) -> Path:
        """What is written onto a stick or a disk."""
        return self.folder / NAME

    @property
    def root(self) -> Path:
        """The root's file system alone."""
        return self.folder / "root.img"

    @property
    def version(self) -> str:
        """What it calls itself."""
        return (self.folder / "version").read_text().strip()


def toolbox() -> Path:
    """The Debian that builds and boots images, made where it is missing."""
    return kept("toolbox", [*lists.read("toolbox")], lambda tree: make(
        tree, _debs(), lists.read("toolbox"), variant="apt"
    ))  # fmt: skip


def base() -> Path:
    """The root's base, made where it is missing."""
    recipe = [HERE / "packages.txt", HERE / "modules.txt", host_tree.ROOT / "requirements.lock"]
    return kept("base", [file.read_text() for file in recipe], lambda tree: root.make_base(tree, _debs()))


def ensure(
    programs: cluster.Programs = cluster.NONE, *, version: str = "", locked: bool = False, accept: bool = False
) -> Built:
    """The image, built where it is missing. `version`: of the image; empty: the suite's; `locked`, `accept`: what is
    done about packages that are not those of manifest.json. Raises BuildError."""
    epoch, version = build_epoch(), version or suite_version()
    if VERSION.fullmatch(version) is None:
        raise BuildError(f"an image's version is numbers and dots, such as 1.4.0, not {version}")
    tools, below = toolbox(), base()
    found = _compare(below, tools, locked=locked)
    target = _place() / f"image-{_key(below, epoch, version, programs)}"
    if not target.is_dir():
        with _locked():
            if not target.is_dir():
                _build(target, below, tools, epoch, version=version, programs=programs)
    os.utime(target)
    if accept:
        manifest.write(found)
    return Built(target, tools)


def suite_version() -> str:
    """Of the suite in this checkout."""
    found: str = tomllib.loads((host_tree.ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def build_epoch() -> int:
    """The image's time, Unix s: `SOURCE_DATE_EPOCH`, else the last commit's, else BASE_EPOCH. Raises BuildError."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        if re.fullmatch(r"[0-9]{1,10}", given) is None:
            raise BuildError(f"SOURCE_DATE_EPOCH is whole seconds since 1970, not {given!r}")
        return int(given)
    command = ["git", "-C", str(host_tree.ROOT), "-c", f"safe.directory={host_tree.ROOT}", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else BASE_EPOCH


def _build(
    target: Path, below: Path, tools: Path, epoch: int, *, version: str, programs: cluster.Programs
) -> None:  # fmt: skip
    started = time.monotonic()
    say("building the image (expected: 60 s)")
    with _fresh(target.with_name("image.new")) as new:
        _make_image(new, below, tools, epoch, version=version, programs=programs)
        others = sorted(_place().glob("image-*"), key=lambda one: one.stat().st_mtime)
        discard(*others[: 1 - KEPT])
        new.rename(target)
    say(f"the image is built ({time.monotonic() - started:.0f} s)")


def _make_image(
    new: Path, below: Path, tools: Path, epoch: int, *, version: str, programs: cluster.Programs
) -> None:  # fmt: skip
    tree, stage = new / "tree", new / "stage"
    stage.mkdir(parents=True)
    run("cp", "-a", str(below), str(tree))
    debian = manifest.of(below, _debs())
    os.environ["SOURCE_DATE_EPOCH"], before = str(epoch), os.environ.get("SOURCE_DATE_EPOCH")
    try:
        shutil.copy(next((tree / "boot").glob("vmlinuz-*")), stage / "vmlinuz")
        root.make(tree, stage / "initrd", epoch, version, programs.files)
    finally:
        os.environ.pop("SOURCE_DATE_EPOCH")
        if before is not None:
            os.environ["SOURCE_DATE_EPOCH"] = before
    shutil.copy(tree / "usr/lib/os-release", stage / "os-release")
    name = disk.make_root(tools, tree, stage, epoch)
    disk.make_kernels(tools, kernel.version(tree), stage, name, epoch)
    disk.make_disk(tools, stage, version, epoch).rename(new / NAME)
    for file in (*RELEASE, *PARTS):
        (stage / file).rename(new / file)
    (new / "kernel-version").write_text(kernel.version(tree) + "\n")
    _describe(new, tree, debian, epoch, version)
    discard(tree, stage)


def _describe(new: Path, tree: Path, debian: dict[str, manifest.Package], epoch: int, version: str) -> None:
    """Package list, SBOM, sizes (bytes)."""
    digest = disk.sha256(new / NAME)
    python = sbom.python_packages(host_tree.site_packages(tree))
    lines = [f"{name} {package['version']}\n" for name, package in sorted(debian.items())]
    (new / "packages.txt").write_text("".join(lines))
    (new / "sbom.json").write_text(sbom.document("galley-nuc", version, epoch, debian, python, digest=digest))
    compressed = run("sh", "-c", 'zstd -q -T0 -3 -c "$1" | wc -c', "zstd", str(new / NAME))
    sizes = {
        "disk": (new / NAME).stat().st_size,
        "disk_compressed": int(compressed),
        "root": (new / "root.img").stat().st_size,
        "kernel": (new / "vmlinuz").stat().st_size,
        "initrd": (new / "initrd").stat().st_size,
        "suite": _bytes_below(tree / "opt/galley"),
        "tree": _bytes_below(tree),
    }
    (new / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
    (new / "epoch").write_text(f"{epoch}\n")
    (new / "version").write_text(f"{version}\n")
    write_sums(new, {NAME: digest})


def write_sums(folder: Path, known: Mapping[str, str]) -> None:
    """`sha256`, for `sha256sum -c`: of all files but itself and VARIES. `known`: what was summed before."""
    names = sorted({file.name for file in folder.iterdir() if file.is_file()} - VARIES - {SUMS})
    sums = {name: known.get(name) or disk.sha256(folder / name) for name in names}
    (folder / SUMS).write_text("".join(f"{one}  {name}\n" for name, one in sums.items()))


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _compare(below: Path, tools: Path, *, locked: bool) -> manifest.Manifest:
    """What this build found; also left in the cache, for who looks there (the last build's, whichever that was)."""
    found = {"root": manifest.of(below, _debs()), "toolbox": manifest.of(tools, _debs())}
    differing = manifest.differences(manifest.read(), found)
    for line in differing:
        say(f"manifest: {line}")
    if differing and locked:
        raise BuildError(f"{len(differing)} packages are not those of manifest.json (--locked)")
    manifest.write(found, _place() / "manifest.json")
    return found


def _place() -> Path:
    place = cache_root() / "nuc"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _debs() -> Path:
    return _place() / "debs"


def kept(kind: str, parts: Sequence[str], maker: Callable[[Path], None], *, what: str = "", seconds: int = 90) -> Path:
    """A folder in the cache by what goes into it; older ones of its kind go. `what` and `seconds`: as it is said."""
    digest = hashlib.sha256("\0".join([RECIPE, *parts]).encode()).hexdigest()[:16]
    tree = _place() / f"{kind}-{digest}"
    if tree.is_dir():
        os.utime(tree)
        return tree
    with _locked():
        if not tree.is_dir():
            say(f"making {what or f'the {kind} of the image'} (expected: {seconds} s)")
            others = sorted(tree.parent.glob(f"{kind}-*"), key=lambda one: one.stat().st_mtime)
            discard(*others[: 1 - KEPT_TREES])
            with _fresh(tree.with_name(f"{kind}.new")) as new:
                maker(new)
                new.rename(tree)
            os.utime(tree)
    return tree


def _key(below: Path, epoch: int, version: str, programs: cluster.Programs) -> str:
    digest = hashlib.sha256(f"{RECIPE} {below.name} {epoch} {version} {programs.key}".encode())
    folders = [HERE, host_tree.ROOT / "systemd", *(host_tree.ROOT / part for part in host_tree.PARTS)]
    docs = sorted((host_tree.ROOT / "docs").glob("*.md"))
    # The commands stand in pyproject.toml, and how they and the suite are laid in, in host_tree.
    alone = [*docs, host_tree.ROOT / "pyproject.toml", Path(host_tree.__file__)]
    for file in [*alone, *sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())]:
        if "__pycache__" not in file.parts and file.name != "manifest.json":
            runs = file.stat().st_mode & 0o100
            digest.update(f"\0{file.relative_to(host_tree.ROOT)} {runs}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _fresh(new: Path) -> Iterator[Path]:
    """Nothing there before, also of a build that was killed; nothing there after one that failed: where the disk is
    full, its half would keep it so."""
    discard(new)
    try:
        yield new
    except BaseException:
        discard(new)
        raise


@contextmanager
def _locked() -> Iterator[None]:
    with (_place() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Builds; prints the folder's path as the last line."""
    parser = argparse.ArgumentParser(prog="make image", description="The NUC image.")
    parser.add_argument("--locked", action="store_true", help="fail where packages are not those of manifest.json")
    parser.add_argument("--accept", action="store_true", help="write what was found into manifest.json")
    parser.add_argument("--version", default="", help="of the image, such as 1.4.0; an update goes to a newer one")
    parser.add_argument("--kube", type=Path, metavar="DIR", help="programs of upstream Kubernetes, to be copied in")
    parser.add_argument("--k3s", type=Path, metavar="FILE", help="k3s, its airgap images beside it, to be copied in")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("make image needs root: file systems are made and owners are set", file=sys.stderr)
        return 1
    os.umask(0o022)
    try:
        programs = cluster.programs(options.kube, options.k3s)
        built = ensure(programs, version=options.version, locked=options.locked, accept=options.accept)
    except (BuildError, OSError) as error:
        print(f"make image: {error}", file=sys.stderr)
        return 1
    print((built.folder / "sizes.json").read_text(), end="", file=sys.stderr)
    print(built.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
