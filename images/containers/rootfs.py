"""The trees that become layers: Debian's Python with the locked dependencies, the suite itself, and pause.

Nothing of a package manager, no shell's scripts run: packages are unpacked, not installed. Needs root, mmdebstrap
and Debian's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.site_in_a_box import dist_info
from tests.site_in_a_box.go_toolchain import find_go

ROOT = Path(__file__).resolve().parents[2]
SUITE = "trixie"
PYTHON = "3.13"
PACKAGES = ("base-files", "ca-certificates", "git", "libpython3-stdlib", "python3-minimal")
PARTS = ("agents", "vessel", "heartbeat", "synthetic_client", "edge_commander", "cloud_endpoint")
USERS = {"vessel": 770, "heartbeat": 771, "synthetic": 772, "commander": 773, "endpoint": 774}
LIBRARIES = f"opt/galley/lib/python{PYTHON}/site-packages"
UNUSED = (
    "boot", "etc/apt", "etc/cron.daily", "etc/dpkg", "etc/logrotate.d", "etc/update-motd.d", "home", "media", "mnt",
    "srv", "usr/games", "usr/share/bash-completion", "usr/share/doc", "usr/share/info", "usr/share/locale",
    "usr/share/lintian", "usr/share/man", "usr/share/perl", "usr/share/perl5", "usr/share/gitweb", "var/cache",
    "var/lib/apt", "var/lib/dpkg", "var/lib/git", "var/log", "var/backups", "usr/share/zoneinfo", "usr/share/bug",
)  # fmt: skip


def make_base(tree: Path) -> None:
    """Debian's Python, git, the certificates, and the locked dependencies in /opt/galley."""
    _run(
        "mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}",
        "--aptopt=APT::Install-Recommends false", SUITE, str(tree),
    )  # fmt: skip
    for unused in UNUSED:
        shutil.rmtree(tree / unused, ignore_errors=True)
    for pattern in ("usr/lib/*/perl*", "usr/lib/*/gconv", "usr/bin/perl*", "dev/*"):
        for found in tree.glob(pattern):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    _dependencies(tree)
    _accounts(tree)
    _certificates(tree)
    for folder in ("etc/galley", "run/galley", "var/lib/galley", "tmp", "proc", "sys", "dev"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    _compile(tree, "opt/galley/lib", f"usr/lib/python{PYTHON}")


def make_suite(tree: Path, compiler: Path) -> None:
    """The suite's packages and commands; `compiler` is a base tree, whose Python compiles them."""
    libraries = tree / LIBRARIES
    for part in PARTS:
        shutil.copytree(ROOT / part, libraries / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dist_info.lay(libraries)
    commands = tree / "opt/galley/bin"
    commands.mkdir(parents=True)
    for name, entry in project["scripts"].items():
        module, function = entry.split(":")
        script = commands / name
        script.write_text(
            f"#!/usr/bin/python3 -I\nimport sys\n\nsys.path.insert(0, '/{LIBRARIES}')\n"
            f"from {module} import {function}\n\nsys.exit({function}())\n"
        )
    _modes(tree)
    for script in commands.iterdir():
        script.chmod(0o755)
    _compile_elsewhere(tree, compiler)


def make_pause(tree: Path, cache: Path) -> None:
    """One static program."""
    tree.mkdir(parents=True)
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    command = [str(find_go(cache).command), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
    _run(*command, "-o", str(tree / "pause"), ".", cwd=Path(__file__).parent / "pause", env=environ)
    (tree / "pause").chmod(0o755)


def _dependencies(tree: Path) -> None:
    wheels = tree.with_name(tree.name + ".wheels")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:", "--no-deps"]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements.lock")]
    site = tree / LIBRARIES
    try:
        _run(*pip, "download", *target, *locked, "-d", str(wheels))
        _run(
            *pip, "install", *target, *locked, "--no-index", "--find-links", str(wheels), "--target", str(site),
            "--no-compile",
        )  # fmt: skip
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for record in [*site.glob("*.dist-info/RECORD"), *site.glob("*.dist-info/direct_url.json")]:
        record.unlink()
    _modes(site)


def _accounts(tree: Path) -> None:
    accounts = {"root": 0, **{f"galley-{name}": uid for name, uid in USERS.items()}}
    lines = [f"{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for name, uid in accounts.items()]
    (tree / "etc/passwd").write_text("".join(lines))
    (tree / "etc/group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid in accounts.items()))


def _certificates(tree: Path) -> None:
    found = sorted((tree / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = tree / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(file.read_text() for file in found))


def _modes(tree: Path) -> None:
    """Whatever the umask of the one who builds: readable by all, writable by root."""
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)


def _compile(tree: Path, *folders: str) -> None:
    """.pyc files that are never checked against their sources: a read-only root must not recompile at each start."""
    command = ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-f"]
    environ = {"PYTHONHASHSEED": "0", "PATH": "/usr/sbin:/usr/bin"}
    _run("chroot", str(tree), *command, *(f"/{folder}" for folder in folders), env=environ)


def _compile_elsewhere(tree: Path, compiler: Path) -> None:
    work = compiler / "build"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(tree / "opt/galley/lib", work / "opt/galley/lib")
    try:
        command = [
            "/usr/bin/python3", "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
            "-s", "/build", "-p", "/", "/build",
        ]  # fmt: skip
        _run("chroot", str(compiler), *command, env={"PYTHONHASHSEED": "0", "PATH": "/usr/sbin:/usr/bin"})
        shutil.rmtree(tree / "opt/galley/lib")
        shutil.copytree(work / "opt/galley/lib", tree / "opt/galley/lib")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs a command; RuntimeError with the end of its output when it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900, cwd=cwd, env=env
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}):\n{done.stdout[-2000:]}")
