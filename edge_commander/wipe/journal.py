"""The journal: two slots on a small raw partition, each whole or worth nothing. Touches one block device.

A record goes to the slot that does not hold the newest one, so a torn write costs that write alone. What must hold
whichever slot is lost later (armed, surveyed, every end) is written to both. No valid slot means: nothing to do.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import msgspec

from edge_commander.wipe.blocks import BlockDevice
from edge_commander.wipe.record import WipeRecord

MAGIC = b"GALLEYJ1"
HEAD = struct.Struct(">8sQI32s")
"""Magic, generation, length of the payload, SHA-256 over the three before and the payload."""
SECTOR = 4096
SLOT = 256 * 1024
OFFSETS = (0, 512 * 1024)
SIZE = 1024 * 1024


class TooLong(Exception):
    """A record does not fit into a slot."""


@dataclass(frozen=True)
class Slot:
    """A valid one. `generation` rises with every write."""

    generation: int
    record: WipeRecord


def encode_slot(slot: Slot) -> bytes:
    """Whole sectors. Raises TooLong."""
    payload = msgspec.json.encode(slot.record)
    head = HEAD.pack(MAGIC, slot.generation, len(payload), _digest(slot.generation, payload))
    data = head + payload
    if len(data) > SLOT:
        raise TooLong(f"a record of {len(payload)} bytes does not fit into the journal")
    return data + bytes(-len(data) % SECTOR)


def decode_slot(data: bytes) -> Slot | None:
    """The slot in these bytes; None where there is no valid one."""
    if len(data) < HEAD.size:
        return None
    magic, generation, length, digest = HEAD.unpack_from(data)
    payload = data[HEAD.size : HEAD.size + length]
    if magic != MAGIC or len(payload) != length or _digest(generation, payload) != digest:
        return None
    try:
        return Slot(generation, msgspec.json.decode(payload, type=WipeRecord))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _digest(generation: int, payload: bytes) -> bytes:
    return hashlib.sha256(struct.pack(">8sQI", MAGIC, generation, len(payload)) + payload).digest()


class Journal:
    """Reads and writes the two slots. Each call raises OSError; after one, the journal is to be opened anew."""

    def __init__(self, device: BlockDevice) -> None:
        if device.size < SIZE:
            raise OSError(f"the journal's partition has {device.size} bytes, {SIZE} are needed")
        self._device = device
        self._unread: list[OSError] = []
        self._slots = [self._look(offset) for offset in OFFSETS]
        if self._unread and not any(self._slots):
            raise self._unread[0]  # a journal that cannot be read is not an empty one

    @property
    def record(self) -> WipeRecord | None:
        """The newest valid record."""
        slot = self._newest()
        return slot.record if slot is not None else None

    def write(self, record: WipeRecord) -> None:
        """On the medium when it returns, in one slot."""
        newest = self._newest()
        slot = Slot(newest.generation + 1 if newest is not None else 1, record)
        number = 1 if newest is not None and newest is self._slots[0] else 0
        self._slots[number] = None  # from here on what it held is not to be relied upon
        self._device.write(OFFSETS[number], encode_slot(slot))
        self._device.flush()
        self._slots[number] = slot

    def write_both(self, record: WipeRecord) -> None:
        """On the medium when it returns, in both slots, one after the other."""
        self.write(record)
        self.write(record)

    def _newest(self) -> Slot | None:
        return max(filter(None, self._slots), key=lambda slot: slot.generation, default=None)

    def _look(self, offset: int) -> Slot | None:
        """A slot that cannot be read is none; the other one may still do."""
        try:
            return decode_slot(self._device.read(offset, SLOT))
        except OSError as error:
            self._unread.append(error)
            return None
