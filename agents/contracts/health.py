"""The health bits of a beat: what each one says, and how checked and good share one number. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import NamedTuple

CHECKED_SHIFT = 16
_MASK = (1 << CHECKED_SHIFT) - 1


class HealthBit(IntFlag):
    """One thing that heartbeat looks at. Bits are never given a new meaning; new ones are added above (up to 16)."""

    DISK = 1 << 0  # every watched file system answers, and has 5 % of its bytes and inodes free
    MEMORY = 1 << 1  # 5 % of the memory is available
    CLOCK = 1 << 2  # the kernel calls its clock synchronised (adjtimex(2))
    TEMPERATURE = 1 << 3  # below the hardware's own high mark, else below 90 degrees Celsius
    LOCAL_API = 1 << 4  # the Kubernetes API of the site answers this node
    COMMANDER = 1 << 5  # Edge Commander's socket takes a connection
    OUTBOX = 1 << 6  # less than 90 % full
    UPLINK = 1 << 7  # the last batch reached the cloud (tells replayed beats from live ones)
    KUBELET = 1 << 8  # kubelet's /healthz says ok
    RUNTIME = 1 << 9  # the container runtime's socket takes a connection


class Health(NamedTuple):
    """The three sets that `Beat.ok` holds: a thing that was not looked at is neither good nor bad."""

    good: HealthBit
    bad: HealthBit
    unknown: HealthBit


def pack(found: Mapping[HealthBit, bool | None]) -> int:
    """`Beat.ok`: low 16 bits what is good, high 16 bits what was checked. None and missing: not checked."""
    good = checked = 0
    for bit, is_good in found.items():
        if is_good is not None:
            checked |= bit
            good |= bit if is_good else 0
    return checked << CHECKED_SHIFT | good


def unpack(ok: int) -> Health:
    """Reads `Beat.ok`. Bits that this version does not know are left out."""
    every = ~HealthBit(0)
    checked = HealthBit(ok >> CHECKED_SHIFT & _MASK) & every
    good = HealthBit(ok & _MASK) & checked
    return Health(good, checked & ~good, every & ~checked)
