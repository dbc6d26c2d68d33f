"""Reads a GUID partition table (UEFI 2.10, 5.3), for kernels that do not. Checksums are checked."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")


@dataclass(frozen=True)
class Partition:
    """`start`, `size`: bytes."""

    label: str
    start: int
    size: int


def partitions(image: Path) -> dict[str, Partition]:
    """By label. Raises ValueError for what is no sound table."""
    with image.open("rb") as file:
        file.seek(SECTOR)
        raw = file.read(SECTOR)
        magic, _, length, checksum, _, _, _, _, _, _, at, count, each, entries_sum = _HEADER.unpack_from(raw)
        if magic != b"EFI PART" or zlib.crc32(raw[:16] + bytes(4) + raw[20:length]) != checksum:
            raise ValueError(f"{image}: no GPT")
        file.seek(at * SECTOR)
        entries = file.read(count * each)
    if zlib.crc32(entries) != entries_sum:
        raise ValueError(f"{image}: the GPT's entries are damaged")
    found = {}
    for offset in range(0, len(entries), each):
        type_, _, first, last, _, name = _ENTRY.unpack_from(entries, offset)
        if type_ != bytes(16):
            label = name.decode("utf-16-le").split("\0")[0]
            found[label] = Partition(label, first * SECTOR, (last - first + 1) * SECTOR)
    return found
