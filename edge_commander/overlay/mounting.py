"""Mounts the overlay, and falls back step by step where it cannot: nothing here stops a boot. Touches mounts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPTIONS = "nosuid,nodev,index=off,metacopy=off,redirect_dir=follow,xino=off,nfs_export=off"
"""The image below changes with each upgrade, which the kernel allows without these features alone (overlayfs.rst,
"Changes to underlying filesystems"). Directories that were moved by an older mount are followed."""


def mounted(at: Path) -> str:
    """The type of what is mounted there on top; empty where nothing is."""
    kind = ""
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if _unescaped(left.split()[4]) == str(at):
                kind = right.split()[0]
    return kind


def overlay(lowers: list[Path], upper: Path, work: Path, at: Path) -> str:
    """Why it could not be mounted; empty when it is."""
    below = ":".join(_escaped(one) for one in lowers)
    layers = f"lowerdir={below},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    return run("mount", "-t", "overlay", "galley-etc", "-o", f"{layers},{OPTIONS}", str(at))


def bind_read_only(source: Path, at: Path) -> str:
    """Why not; empty when `source`, without what is mounted in it, is seen at `at`.

    Private: where the root's mounts are shared, as systemd has it, what is mounted on `source` later would come along.
    """
    steps = (["--bind", str(source)], ["--make-private"], ["-o", "remount,bind,ro"])
    return next((why for words in steps if (why := run("mount", *words, str(at)))), "")


def fresh(folder: Path) -> str:
    """An empty folder in the place of one that may be damaged; why not, or empty."""
    gone(folder)
    try:
        folder.mkdir(mode=0o755)
    except OSError as error:
        return f"{folder}: cannot be made anew: {error.strerror}"
    return ""


def gone(path: Path) -> None:
    """Removes a file or a whole folder, as far as that goes."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass  # whoever needs its place will say so


def run(*command: str) -> str:
    """Why a program failed, by its last words; empty when it did not."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return "" if done.returncode == 0 else done.stderr.strip()[-200:] or f"{command[0]}: exit {done.returncode}"


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
