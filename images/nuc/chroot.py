"""Debian trees: made by mmdebstrap out of a warm package cache, entered with folders bound into them. Needs root.

Package sources are mmdebstrap's own defaults; no address stands here. Every `.deb` that was used stays in the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SUITE = "trixie"
LIMIT_SECONDS = 900
ENTER = r"""
set -e
tree=$1; shift
mount --make-rprivate /
for folder in proc sys dev; do mount --rbind /$folder "$tree/$folder"; done
mount -t tmpfs tmpfs "$tree/run"
while [ "$1" != -- ]; do
    mkdir -p "$tree/run/$2"
    mount --bind "$1" "$tree/run/$2"
    shift 2
done
shift
exec chroot "$tree" "$@"
"""
"""Arguments: the tree, pairs of (folder here, name below /run there), `--`, the command."""


class BuildError(Exception):
    """A step failed; the text says which, with the end of what it printed."""


def make(tree: Path, debs: Path, packages: Sequence[str], *, variant: str, options: Sequence[str] = ()) -> None:
    """A tree with the packages and what they need, and nothing recommended. `debs`: the package cache."""
    debs.mkdir(parents=True, exist_ok=True)
    own = '"$1"/var/cache/apt/archives/'
    run(
        # As root it mounts the /proc and /sys of the tree for everybody. Killed, it would leave them, and neither that
        # tree nor a later one in its place could be removed or made.
        "unshare", "--mount",
        "mmdebstrap", "--quiet", f"--variant={variant}", "--skip=download/empty", "--skip=essential/unlink",
        '--aptopt=APT::Install-Recommends "false"', f"--setup-hook=mkdir -p {own}",
        f"--setup-hook=sync-in {debs} /var/cache/apt/archives/",
        f"--customize-hook=sync-out /var/cache/apt/archives {debs}",
        *options, f"--include={','.join(packages)}", SUITE, str(tree), what="mmdebstrap",
    )  # fmt: skip


def entering(tree: Path, command: Sequence[str], binds: Mapping[Path, str]) -> list[str]:
    """The command line that runs `command` in the tree, in a mount namespace of its own; `binds`: folder here to its
    name below /run there."""
    pairs = [part for here, there in binds.items() for part in (str(here), there)]
    return ["unshare", "--mount", "sh", "-c", ENTER, "enter", str(tree), *pairs, "--", *command]


def inside(tree: Path, *command: str, binds: Mapping[Path, str] | None = None, epoch: int | None = None) -> str:
    """Runs a command in the tree and returns its output; the environment is the same wherever it is run."""
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "HOME": "/"}
    if epoch is not None:
        environ["SOURCE_DATE_EPOCH"] = str(epoch)
    return run(*entering(tree, command, binds or {}), environ=environ, what=command[0])


def run(*command: str, environ: Mapping[str, str] | None = None, what: str = "") -> str:
    """Runs a command here; BuildError when it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=LIMIT_SECONDS,
        env=dict(environ) if environ is not None else {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        raise BuildError(f"{what or command[0]} failed ({done.returncode}):\n{done.stdout[-3000:]}")
    return done.stdout


def discard(*paths: Path) -> None:
    """Removes what is there of these."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def say(text: str) -> None:
    """A line for the one who builds."""
    print(text, file=sys.stderr, flush=True)
