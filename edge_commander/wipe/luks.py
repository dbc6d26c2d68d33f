"""LUKS2 headers: whether a partition is one whose content its key slots alone protect. Pure.

Source: the LUKS2 on-disk format specification 1.1 (cryptsetup's docs): a binary header of 4096 bytes with a checksum
over itself and the JSON behind it, and a second one of the same size at one of a few known offsets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from typing import Any

FIRST, SECOND = b"LUKS\xba\xbe", b"SKUL\xba\xbe"
SIZES = tuple(0x4000 << power for power in range(9))
"""What one header may measure with its JSON, bytes: 16 KiB to 4 MiB. The second one begins there."""
LOOK = 2 * SIZES[-1]
"""How much of a device's start tells all of it, bytes."""
LEAST_AREA = 16 * 1024 * 1024
"""Overwritten in any case, bytes: what a header of default size and older ones on the same disk take."""
_BINARY = struct.Struct(">6sHQ")
_ALGORITHM, _CHECKSUM = slice(72, 104), slice(448, 512)
_JSON_AT = 4096


@dataclass(frozen=True)
class Luks:
    """`data`: where the encrypted content begins, bytes: headers and key slots lie before it."""

    data: int


def read(start: bytes, size: int) -> Luks | None:
    """What the first `LOOK` bytes of a device of `size` bytes say; None where the content must be overwritten whole.

    That is so for anything but one sound LUKS2 header with one segment that is encrypted to its end: with a header
    that is damaged, a re-encryption under way or a null cipher, plain text may lie anywhere.
    """
    found = _header(start, 0, FIRST)
    if found is None:
        found = next(filter(None, (_header(start, at, SECOND) for at in SIZES)), None)
    return _judge(found, size) if found is not None else None


def _header(start: bytes, at: int, magic: bytes) -> dict[str, Any] | None:
    """The JSON of the header at that offset, where its checksum holds."""
    binary = start[at : at + _JSON_AT]
    if len(binary) < _JSON_AT:
        return None
    found, version, length = _BINARY.unpack_from(binary)
    whole = start[at : at + length]
    if found != magic or version != 2 or length not in SIZES or len(whole) != length:
        return None
    name = binary[_ALGORITHM].split(b"\0")[0].decode("ascii", "replace")
    try:
        digest = hashlib.new(name, usedforsecurity=False)
    except ValueError:
        return None
    blank = bytes(_CHECKSUM.stop - _CHECKSUM.start)
    digest.update(binary[: _CHECKSUM.start] + blank + binary[_CHECKSUM.stop :] + whole[_JSON_AT:])
    size = digest.digest_size  # 0: of any length, as SHAKE; none of these
    if not size or not hmac.compare_digest(digest.digest(), binary[_CHECKSUM][:size]):
        return None
    try:
        value = json.loads(whole[_JSON_AT:].split(b"\0")[0])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _judge(found: dict[str, Any], size: int) -> Luks | None:
    try:
        segments = list(found["segments"].values())
        areas = [one["area"] for one in found["keyslots"].values()]
        if found["config"].get("requirements", {}).get("mandatory") or len(segments) != 1:
            return None
        one = segments[0]
        data = int(one["offset"])
        ends = [int(area["offset"]) + int(area["size"]) for area in areas]
        if one["type"] != "crypt" or "null" in str(one["encryption"]) or one["size"] != "dynamic":
            return None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return Luks(data) if 0 < data <= size and all(end <= data for end in ends) else None
