"""The port to a block device: read, write, flush. Pure."""

from __future__ import annotations

from typing import Protocol

CHUNK = 4 * 1024 * 1024
"""How much is written or read at once, bytes."""


class BlockDevice(Protocol):
    """One device, whole. Offsets and lengths are multiples of 512. Each call raises OSError."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """What the medium holds there; less only at its end."""

    def write(self, offset: int, data: bytes) -> None:
        """All of it; durable only after `flush`."""

    def zero(self, offset: int, length: int) -> None:
        """Zeros, written as data (a discard proves nothing)."""

    def flush(self) -> None:
        """Everything written before survives a power cut."""
