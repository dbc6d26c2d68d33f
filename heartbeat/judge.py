"""From what was seen to health bits and to `did the facts change`: the thresholds are here. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agents.contracts.health import HealthBit
from agents.contracts.messages import Disk, Facts, Link

MIN_FREE = 0.05
HOT_CELSIUS = 90.0
FULL_OUTBOX = 0.9
MEMORY_STEP = 0.10
DISK_STEP = 0.05
INODES_STEP = 5.0
HEAT_STEP = 10.0


@dataclass(frozen=True)
class Seen:
    """One look at the machine. None: not looked at. `disks` holds None for one that did not answer in time."""

    disks: Sequence[Disk | None] = ()
    memory_total: int = 0
    memory_available: int = 0
    clock_synchronized: bool | None = None
    temperature: float | None = None
    temperature_high: float | None = None
    local_api: bool | None = None
    commander: bool | None = None
    kubelet: bool | None = None
    runtime: bool | None = None
    outbox_filled: float | None = None
    uplink: bool | None = None


def boot_prefix(boot_id: str) -> str:
    """Eight hex digits that change with the boot: the id's own first ones, else those of its hash."""
    text = boot_id.replace("-", "")[:8].lower()
    if len(text) == 8 and all(letter in "0123456789abcdef" for letter in text):
        return text
    return hashlib.sha256(boot_id.encode()).hexdigest()[:8]


def disk_good(disk: Disk | None) -> bool:
    """Answers, and has room. A file system without inodes of its own reports 100 % free of them."""
    return disk is not None and disk.free >= disk.total * MIN_FREE and disk.inodes_free_percent >= MIN_FREE * 100


def bits(seen: Seen) -> dict[HealthBit, bool | None]:
    """What `agents.contracts.health.pack` takes."""
    limit = seen.temperature_high or HOT_CELSIUS
    return {
        HealthBit.DISK: all(map(disk_good, seen.disks)) if seen.disks else None,
        HealthBit.MEMORY: seen.memory_available >= seen.memory_total * MIN_FREE if seen.memory_total else None,
        HealthBit.CLOCK: seen.clock_synchronized,
        HealthBit.TEMPERATURE: None if seen.temperature is None else seen.temperature < limit,
        HealthBit.LOCAL_API: seen.local_api,
        HealthBit.COMMANDER: seen.commander,
        HealthBit.OUTBOX: None if seen.outbox_filled is None else seen.outbox_filled < FULL_OUTBOX,
        HealthBit.UPLINK: seen.uplink,
        HealthBit.KUBELET: seen.kubelet,
        HealthBit.RUNTIME: seen.runtime,
    }


_EXACT = (
    "boot_id", "hostname", "hardware", "serial", "kernel", "os", "versions", "cpus", "memory_total",
    "clock_synchronized", "interval",
)  # fmt: skip


def changes(old: Facts | None, new: Facts) -> list[str]:
    """Names the fields that differ by more than noise; empty when nothing is worth a message.

    Load never counts, and boot time does not either: it wanders with the clock, the boot id says it better.
    """
    if old is None:
        return ["first"]
    found = [name for name in _EXACT if getattr(old, name) != getattr(new, name)]
    if abs(old.memory_available - new.memory_available) > MEMORY_STEP * max(new.memory_total, 1):
        found.append("memory_available")
    if _disks_differ(old.disks, new.disks):
        found.append("disks")
    if sorted(map(_link_key, old.links)) != sorted(map(_link_key, new.links)):
        found.append("links")
    if _heat_differs(old.temperature, new.temperature):
        found.append("temperature")
    return found


def _disks_differ(old: Sequence[Disk], new: Sequence[Disk]) -> bool:
    before = {disk.path: disk for disk in old}
    if before.keys() != {disk.path for disk in new}:
        return True
    return any(_disk_differs(before[disk.path], disk) for disk in new)


def _disk_differs(old: Disk, new: Disk) -> bool:
    return (
        old.total != new.total
        or disk_good(old) != disk_good(new)
        or abs(old.free - new.free) > DISK_STEP * max(new.total, 1)
        or abs(old.inodes_free_percent - new.inodes_free_percent) > INODES_STEP
    )


def _link_key(link: Link) -> tuple[str, bool, int, tuple[str, ...]]:
    return (link.name, link.up, link.speed, tuple(sorted(link.addresses)))


def _heat_differs(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return (old is None) != (new is None)
    return abs(old - new) > HEAT_STEP


_VIRTUAL = ("lo", "veth", "cali", "cni", "flannel", "docker", "br-", "dummy", "tunl", "vxlan", "kube", "lxc", "cilium")


def watched_link(name: str) -> bool:
    """Whether an interface is the node's own: those that pods come and go with are noise."""
    return not name.startswith(_VIRTUAL)
