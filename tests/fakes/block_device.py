"""A block device in memory with a volatile cache: what was not flushed may be lost, in part and torn, at a crash."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, field

from edge_commander.wipe.record import Target

SECTOR = 512


class PowerCut(BaseException):
    """The machine is gone."""


@dataclass
class Mains:
    """Counts operations over all devices of a machine, and cuts the power at one. `at` None: never."""

    at: int | None = None
    done: int = 0

    def use(self) -> None:
        """One operation; raises PowerCut before it is whole."""
        self.done += 1
        if self.at is not None and self.done >= self.at:
            raise PowerCut


@dataclass
class ShimDevice:
    """`medium`: what survives. Writes lie in `pending` until a flush."""

    medium: bytearray
    mains: Mains
    rng: random.Random
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    read_only: bool = False
    gone: bool = False
    sticky: dict[int, int] = field(default_factory=dict)
    """Offsets whose byte stays what it is, whatever is written."""

    @property
    def size(self) -> int:
        return len(self.medium)

    def read(self, offset: int, length: int) -> bytes:
        self._there()
        seen = bytearray(self.medium)
        for at, data in self.pending:
            seen[at : at + len(data)] = data
        return bytes(seen[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self._there()
        if self.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
        assert offset % SECTOR == 0 and len(data) % SECTOR == 0 and offset + len(data) <= self.size
        self.pending.append((offset, bytes(data)))
        self.mains.use()

    def zero(self, offset: int, length: int) -> None:
        self.write(offset, bytes(length))

    def flush(self) -> None:
        self._there()
        self.mains.use()
        for at, data in self.pending:
            self.medium[at : at + len(data)] = data
        for at, value in self.sticky.items():
            self.medium[at] = value
        self.pending.clear()

    def power_cut(self) -> None:
        """Of what was not flushed any sectors are there, in any mixture; one of them may be torn into noise."""
        for at, data in self.pending:
            for start in range(0, len(data), SECTOR):
                fate = self.rng.random()
                piece = data[start : start + SECTOR]
                if fate < 0.5:
                    self.medium[at + start : at + start + SECTOR] = piece
                elif fate < 0.6:
                    cut = self.rng.randrange(SECTOR)
                    self.medium[at + start : at + start + cut] = piece[:cut]
        self.pending.clear()

    def _there(self) -> None:
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")

    def __enter__(self) -> ShimDevice:
        self._there()
        return self

    def __exit__(self, *_: object) -> None:
        return None


@dataclass
class ShimDisks:
    """Targets on shim devices; `format` writes what follows from target and command, in pieces."""

    devices: dict[Target, ShimDevice]

    def open(self, target: Target) -> ShimDevice:
        return self.devices[target]

    def format(self, target: Target, command: object) -> None:
        device = self.devices[target]
        for start in range(0, device.size, 16 * SECTOR):
            device.write(start, file_system(target, command, start))
        device.flush()


def file_system(target: Target, command: object, start: int) -> bytes:
    """A sector of the file system that a command makes."""
    identity = str(getattr(command, "id", ""))
    return f"fs {target.value} {identity} {start}".encode().ljust(SECTOR, b"\0")
