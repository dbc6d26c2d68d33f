"""The journal's slots: whole or worth nothing, and never both in danger at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_commander.wipe import record as records
from edge_commander.wipe.journal import OFFSETS, SIZE, Journal, Slot, decode_slot, encode_slot
from edge_commander.wipe.record import Phase
from tests.fakes import wipe_kit as kit
from tests.fakes.block_device import Mains, ShimDevice

RECORD = kit.armed()
WHOLE = encode_slot(Slot(3, RECORD))


def device(size: int = SIZE) -> ShimDevice:
    return ShimDevice(bytearray(size), Mains(), random.Random(0))


def test_a_slot_is_read_back() -> None:
    assert decode_slot(WHOLE) == Slot(3, RECORD)
    assert len(WHOLE) % 4096 == 0


@given(st.integers(0, 1500), st.integers(1, 255))
def test_any_byte_changed_makes_it_worth_nothing(at: int, mask: int) -> None:
    data = bytearray(WHOLE)
    data[at] ^= mask
    found = decode_slot(bytes(data))
    assert found is None or (found == Slot(3, RECORD) and at >= len(WHOLE.rstrip(b"\0")))


@given(st.binary(max_size=200))
def test_garbage_is_none(data: bytes) -> None:
    assert decode_slot(data) is None
    assert decode_slot(WHOLE[:12] + data) is None


def test_each_write_leaves_the_newest_one_alone() -> None:
    shim = device()
    journal = Journal(shim)
    journal.write(RECORD)
    for attempt in range(1, 6):
        before = {at: bytes(shim.medium[at : at + 4096]) for at in OFFSETS}
        newest = max((slot.generation, at) for at in OFFSETS if (slot := decode_slot(before[at])) is not None)[1]
        journal.write(records.attempted(RECORD))
        assert bytes(shim.medium[newest : newest + 4096]) == before[newest], attempt


def test_what_is_written_to_both_is_read_from_either() -> None:
    done = records.ended(RECORD, Phase.DONE)
    for lost in OFFSETS:
        shim = device()
        journal = Journal(shim)
        journal.write_both(RECORD)
        journal.write_both(done)
        shim.medium[lost : lost + 512] = b"\xff" * 512
        assert Journal(shim).record == done


def test_a_partition_that_is_too_small_is_named() -> None:
    with pytest.raises(OSError, match="has 4096 bytes, 1048576 are needed"):
        Journal(device(4096))


def test_an_empty_one_holds_nothing() -> None:
    assert Journal(device()).record is None
