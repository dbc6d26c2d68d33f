"""A file tree for systemd-nspawn: Debian 13 with the suite in /opt/galley, for hosts of clusters, whose programs and
disks the harness lays. What lays the suite here makes the root of the NUC image too.

The base (Debian packages and the locked Python dependencies) is made once into the cache, keyed by what goes
into it; the suite itself is laid into a host's own overlay at each boot, as it changes with every commit. All
modules are compiled, as in an image: daemons cannot write there, and would compile everything anew at each start.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.site_in_a_box import dist_info

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = "2"  # one more whenever _make does something else
SUITE = "trixie"
PYTHON = "3.13"
PACKAGES = ["ca-certificates", "dbus", "git", "iproute2", "procps", "python3", "systemd", "systemd-sysv"]
PARTS = ["agents", "vessel", "heartbeat", "synthetic_client", "edge_commander", "cloud_endpoint"]
EXPECTED_SECONDS = 60
KEPT = 8
"""Compiled suites in the cache."""
SCRIPT = """\
#!/opt/galley/bin/python3 -I
import gc
import sys

gc.disable()  # nothing of what is loaded at the start is garbage: looking for some costs a twelfth of it
from {module} import {function}

gc.freeze()
gc.enable()
sys.exit({function}())
"""
"""A command."""


def cache() -> Path:
    """The project's cache folder, outside the repository."""
    return Path(os.environ.get("GALLEY_CACHE") or Path.home() / ".cache" / "galley")


def key(more: Sequence[str]) -> str:
    """Names the base by what goes into it."""
    digest = hashlib.sha256(" ".join([RECIPE, SUITE, PYTHON, *PACKAGES, *more]).encode())
    digest.update((ROOT / "requirements.lock").read_bytes())
    return digest.hexdigest()[:16]


def ensure(more: Sequence[str]) -> Path:
    """The base tree with packages besides those of every host, made where it is missing (needs root, mmdebstrap and
    Debian's packages)."""
    tree = cache() / f"host-tree-{key(more)}"
    if tree.is_dir():
        return tree
    tree.parent.mkdir(parents=True, exist_ok=True)
    with _locked(tree.parent / "host-tree.lock"):
        if not tree.is_dir():
            _make(tree, [*PACKAGES, *more])
    return tree


def _make(tree: Path, packages: Sequence[str]) -> None:
    print(f"making the tree of a host, Debian {SUITE} (expected: {EXPECTED_SECONDS} s)", flush=True)
    for old in tree.parent.glob("host-tree-*.new"):
        shutil.rmtree(old)
    new = tree.with_name(tree.name + ".new")
    _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(new))
    lay_dependencies(new)
    new.rename(tree)


def lay_dependencies(tree: Path) -> None:
    """The suite's environment in a Debian tree, with the locked dependencies, compiled."""
    _run(sys.executable, "-c", "import pip", what="pip")
    _run("chroot", str(tree), "python3", "-m", "venv", "--without-pip", "/opt/galley")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = tree.with_name(tree.name + ".wheels")
    target = ["--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:", "--no-deps"]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements.lock")]
    try:
        _run(*pip, "download", *target, *locked, "-d", str(wheels))
        site = site_packages(tree)
        _run(*pip, "install", *target, *locked, "--no-index", "--no-compile", "--find-links", str(wheels),
             "--target", str(site))  # fmt: skip
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    compile_modules(tree, site)


def site_packages(tree: Path) -> Path:
    """Where the suite's environment keeps its packages."""
    return tree / "opt/galley/lib" / f"python{PYTHON}" / "site-packages"


def install_suite(tree: Path, units: str = "etc/systemd/system", users: str = "etc") -> None:
    """Lays the suite into a tree: packages, commands, units, users; the units are not enabled.

    `units`: where unit files go; `users`: where sysusers.d and tmpfiles.d are."""
    compiled = _compiled_suite(tree)
    for part in PARTS:
        shutil.copytree(compiled / part, site_packages(tree) / part, dirs_exist_ok=True)
    dist_info.lay(site_packages(tree))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        script = tree / "opt/galley/bin" / name
        script.write_text(SCRIPT.format(module=module, function=function))
        script.chmod(0o755)
    for source, target in (
        ("*.service", units),
        ("*.socket", units),
        ("sysusers.d/*.conf", f"{users}/sysusers.d"),
        ("tmpfiles.d/*.conf", f"{users}/tmpfiles.d"),
    ):
        (tree / target).mkdir(parents=True, exist_ok=True)
        for file in (ROOT / "systemd").glob(source):
            shutil.copy(file, tree / target / file.name)
    (tree / "etc/galley").mkdir(exist_ok=True)
    _run("systemd-sysusers", f"--root={tree}")


def _compiled_suite(tree: Path) -> Path:
    """The suite's packages with their compiled modules, out of the cache; made by the Python of `tree`, a whole one."""
    made = cache() / f"host-suite-{_suite_key()}"
    if made.is_dir():
        return made
    with _locked(cache() / "host-suite.lock"):
        if not made.is_dir():
            new = made.with_name("host-suite.new")
            shutil.rmtree(new, ignore_errors=True)
            for part in PARTS:
                inside = site_packages(tree) / part
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, inside, dirs_exist_ok=True, ignore=ignored)
                compile_modules(tree, inside)
                shutil.copytree(inside, new / part)
            for old in sorted(cache().glob("host-suite-*"), key=lambda one: one.stat().st_mtime)[: 1 - KEPT]:
                shutil.rmtree(old)
            new.rename(made)
            os.utime(made)
    return made


def _suite_key() -> str:
    digest = hashlib.sha256(f"{RECIPE} {SUITE} {PYTHON}".encode())
    for file in sorted(file for part in PARTS for file in (ROOT / part).rglob("*") if file.is_file()):
        if "__pycache__" not in file.parts:
            digest.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def compile_modules(tree: Path, folder: Path) -> None:
    """Compiles a folder of the tree by the tree's own Python; the results are never checked against the sources."""
    command = ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    _run("chroot", str(tree), *command, f"/{folder.relative_to(tree)}", what="compileall")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str, what: str = "") -> None:
    """Runs a command; RuntimeError with the end of its output when it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900
    )
    if done.returncode != 0:
        raise RuntimeError(f"{what or command[0]} failed ({done.returncode}):\n{done.stdout[-2000:]}")
