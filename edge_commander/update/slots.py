"""The two roots, and the one that this machine runs from. Touches device nodes."""

from __future__ import annotations

import os
from pathlib import Path

from agents.core import os_release
from edge_commander.settings import UpdateSettings
from edge_commander.update import entries

OS_RELEASE = Path("/usr/lib/os-release")
BLOCK = Path("/sys/class/block")


def device(settings: UpdateSettings, slot: str) -> Path:
    """Where a slot is."""
    return Path({"a": settings.root_a, "b": settings.root_b}[slot])


def running(settings: UpdateSettings, root: Path = Path("/usr"), block: Path = BLOCK) -> str:
    """`a`, `b`, or empty where the file system that holds `root` is on neither (a container, a disk of another make, a
    stick that was started).

    `/usr` and not `/`: the root may be an overlay, the image's own files never are.
    """
    try:
        mounted = root.stat().st_dev
    except OSError:
        return ""
    for slot in ("a", "b"):
        try:
            if _number(device(settings, slot), block) == mounted:
                return slot
        except (OSError, ValueError):
            continue
    return ""


def _number(path: Path, block: Path) -> int:
    """Of a block device. Where none is to be seen (a daemon may have its own /dev), the kernel knows it by its name.
    Raises OSError, ValueError."""
    try:
        return path.stat().st_rdev
    except FileNotFoundError:
        major, minor = (block / path.resolve().name / "dev").read_text().split(":")
        return os.makedev(int(major), int(minor))


def on_trial(settings: UpdateSettings, slot: str, version: str) -> bool:
    """Whether the boot loader's entry of what runs still counts its tries: systemd-bless-boot takes the count away.

    Asked in a boot that was counted. Where the entries cannot be read yet (the esp is mounted late), it is one still.
    """
    try:
        names = [one.name for one in Path(settings.esp, entries.FOLDER).iterdir()]
    except OSError:
        return True
    return any(one.trial for one in entries.of_slot(entries.read(names), slot) if one.version == version)


def version(file: Path = OS_RELEASE) -> str:
    """`IMAGE_VERSION` of the image that runs (os-release(5)); empty where it has none."""
    try:
        return os_release.parse(file.read_text(errors="replace")).get("IMAGE_VERSION", "")
    except OSError:
        return ""
