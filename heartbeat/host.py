"""What the host tells: memory, load, file systems, interfaces, heat, clock. Touches /proc, /sys and statvfs(2).

All of it blocks; callers use threads (see patience). psutil reads below `proc_root`, which a pod or a played
machine may have elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from agents.contracts.messages import Disk, Link
from agents.core.os_release import parse
from agents.io.own_version import own_version
from heartbeat.judge import watched_link

_TIME_ERROR = 5
_TIMEX_BYTES = 512


def use_proc(proc_root: str) -> None:
    """Makes psutil read below `proc_root` (process-wide)."""
    psutil.PROCFS_PATH = proc_root


def uptime(proc_root: str) -> int:
    """Whole seconds since boot, suspended time included (proc(5))."""
    return int(float((Path(proc_root) / "uptime").read_text().split()[0]))


def memory() -> tuple[int, int]:
    """Total and available bytes."""
    found = psutil.virtual_memory()
    return found.total, found.available


def disk(path: str) -> Disk:
    """One file system, as an unprivileged writer sees it, and as df(1) counts its percents: what only root may fill is
    neither used nor free, so it is no part of the total. Raises OSError."""
    found = os.statvfs(path)
    reserved = found.f_bfree - found.f_bavail
    inodes = 100.0 if found.f_files == 0 else min(100.0, 100.0 * found.f_favail / found.f_files)
    return Disk(
        path=path[-256:],  # the contract bounds it, the tail tells more
        total=(found.f_blocks - reserved) * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes_free_percent=round(inodes, 1),
    )


def links() -> list[Link]:
    """The node's own interfaces, by name; no link-local addresses."""
    addresses = psutil.net_if_addrs()
    return [
        Link(
            name=name,
            up=stats.isup,
            speed=max(0, stats.speed),
            addresses=sorted(
                entry.address.split("%")[0]
                for entry in addresses.get(name, [])
                if entry.family in (socket.AF_INET, socket.AF_INET6) and not entry.address.startswith("fe80:")
            ),
        )
        for name, stats in sorted(psutil.net_if_stats().items())
        if watched_link(name)
    ]


def heat() -> tuple[float | None, float | None]:
    """The hottest sensor in degrees Celsius and its own high mark; None where there is none."""
    sensors = [entry for chip in psutil.sensors_temperatures().values() for entry in chip if entry.current]
    if not sensors:
        return None, None
    hottest = max(sensors, key=lambda entry: entry.current)
    return hottest.current, hottest.high or None


def clock_synchronized() -> bool | None:
    """What the kernel says of its clock (adjtimex(2), read only); None where it may not be asked."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def os_release(file: str) -> Mapping[str, str]:
    """What os-release(5) says; nothing where it cannot be read."""
    try:
        return parse(Path(file).read_text(errors="replace"))
    except OSError:
        return {}


def os_name(release: Mapping[str, str]) -> str:
    """For people."""
    return release.get("PRETTY_NAME", "")[:256]


def load() -> list[float]:
    """The load averages of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def boot_time_ms() -> int:
    """When the kernel says that it booted, Unix ms."""
    return int(psutil.boot_time() * 1000)


def cpus() -> int:
    """Logical processors."""
    return psutil.cpu_count() or 1


def kernel() -> str:
    """The running kernel's release."""
    return platform.release()


def versions(release: Mapping[str, str]) -> dict[str, str]:
    """What Galley, what Python and which image runs here; no image where the node is not one."""
    found = {"galley": own_version() or "unknown", "python": platform.python_version()}
    if image := release.get("IMAGE_VERSION", "")[:64]:
        found["image"] = image
    return found
