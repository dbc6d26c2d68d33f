"""LUKS2 headers are recognised by the whole of what they must be; anything else is overwritten whole."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_commander.wipe.luks import FIRST, LOOK, SECOND, Luks, read

SIZE = 64 * 1024 * 1024
DATA = 16 * 1024 * 1024


def text(**changed: Any) -> dict[str, Any]:
    one = {"type": "crypt", "offset": str(DATA), "size": "dynamic", "encryption": "aes-xts-plain64", "sector_size": 512}
    return {
        "keyslots": {"0": {"type": "luks2", "area": {"type": "raw", "offset": "32768", "size": "258048"}}},
        "segments": {"0": one | changed.pop("segment", {})},
        "config": {"json_size": "12288", "keyslots_size": "16744448"},
    } | changed


def header(value: dict[str, Any], magic: bytes = FIRST, length: int = 0x4000) -> bytes:
    return _with(json.dumps(value).encode(), magic, length)


def _with(written: bytes, magic: bytes = FIRST, length: int = 0x4000) -> bytes:
    binary = bytearray(4096)
    struct.pack_into(">6sHQ", binary, 0, magic, 2, length)
    binary[72:78] = b"sha256"
    whole = bytes(binary) + written.ljust(length - 4096, b"\0")
    return whole[:448] + hashlib.sha256(whole).digest().ljust(64, b"\0") + whole[512:]


def disk(first: bytes, second: bytes = b"", at: int = 0x4000) -> bytes:
    start = bytearray(LOOK)
    start[: len(first)] = first
    start[at : at + len(second)] = second
    return bytes(start)


def test_a_sound_one_says_where_its_data_begins() -> None:
    assert read(disk(header(text())), SIZE) == Luks(DATA)


def test_with_the_first_header_damaged_the_second_one_counts() -> None:
    second = header(text(), SECOND)
    assert read(disk(b"\xff" * 0x4000, second), SIZE) == Luks(DATA)
    assert read(disk(b"", header(text(), SECOND, 0x10000), 0x10000), SIZE) == Luks(DATA)


@pytest.mark.parametrize(
    "value",
    [
        text(config={"requirements": {"mandatory": ["online-reencrypt-v2"]}}),
        text(segment={"type": "linear"}),
        text(segment={"encryption": "cipher_null-ecb"}),
        text(segment={"size": "1048576"}),
        text(segment={"offset": str(SIZE + 1)}),
        text(segment={"offset": "0"}),
        text(segments={}),
        text(segments={"0": text()["segments"]["0"], "1": text()["segments"]["0"]}),
        text(keyslots={"0": {"area": {"offset": str(DATA), "size": "1"}}}),
        text(keyslots=[]),
        {},
    ],
)
def test_where_plain_text_may_lie_it_is_none(value: dict[str, Any]) -> None:
    assert read(disk(header(value)), SIZE) is None


@pytest.mark.parametrize("wild", ["1e999", "-1e999", "[]", "null", "9" * 5000])
def test_numbers_that_are_none_make_it_none(wild: str) -> None:
    """It says nothing for what cannot be read, and never ends the engine: that would keep a wipe from its end."""
    for name in ('"offset": "16777216"', '"size": "258048"'):
        written = json.dumps(text()).replace(name, f"{name.partition(':')[0]}: {wild}")
        assert read(disk(_with(written.encode())), SIZE) is None


def test_a_digest_without_a_length_makes_it_none() -> None:
    one = bytearray(header(text()))
    one[72:104] = b"shake_128".ljust(32, b"\0")
    assert read(disk(bytes(one)), SIZE) is None


def test_luks1_and_plain_and_empty_are_none() -> None:
    one = bytearray(header(text()))
    struct.pack_into(">H", one, 6, 1)
    assert read(disk(bytes(one)), SIZE) is None
    assert read(b"", 0) is None
    assert read(b"text " * 4000, SIZE) is None


@settings(deadline=None)
@given(st.integers(0, 0x4000 - 1), st.integers(1, 255))
def test_any_byte_changed_makes_it_none(at: int, mask: int) -> None:
    one = bytearray(header(text()))
    one[at] ^= mask
    found = read(disk(bytes(one)), SIZE)
    assert found is None or at >= 480  # behind a checksum of 32 bytes its field is unused
    if found is not None:
        assert at < 512


@given(st.binary(max_size=600))
def test_garbage_behind_a_magic_ends_in_none(data: bytes) -> None:
    assert read(disk(FIRST + b"\0\2" + data), SIZE) is None
