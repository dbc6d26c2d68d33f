"""A wipe whose power fails, anywhere and again and again, ends as one that was left in peace."""

from __future__ import annotations

import random

import pytest

from edge_commander.wipe.journal import Journal
from edge_commander.wipe.record import Phase, Target
from tests.fakes import wipe_kit as kit
from tests.fakes.block_device import PowerCut
from tests.fakes.wipe_kit import Machine

BOTH = (Target.VAR, Target.CONF)
LIVES = 10_000
CHUNKS = 8


def operations() -> int:
    """Of an undisturbed wipe, from its start."""
    machine = Machine()
    machine.arm()
    machine.start()
    return machine.mains.done


def test_cut_at_each_operation_once() -> None:
    for at in range(1, operations() + 1):
        machine = Machine(at)
        machine.arm()
        with pytest.raises(PowerCut):
            machine.start(cut_at=at)
        record = machine.start()
        assert record is not None, f"cut at {at}"
        assert record.phase is Phase.DONE, f"cut at {at}"
        assert machine.content() == kit.after(BOTH), f"cut at {at}"


@pytest.mark.parametrize("blank", [True, False])
def test_cut_anywhere_what_a_target_is_to_be_stays_decided(blank: bool) -> None:
    """A TPM that is there at one start and not at the next changes nothing once the targets were looked at."""
    whole = Machine(blank=blank)
    whole.arm()
    whole.start()
    for at in range(1, whole.mains.done + 1):
        machine = Machine(at, blank=blank)
        machine.arm()
        with pytest.raises(PowerCut):
            machine.start(cut_at=at)
        record = Journal(machine.journal).record
        assert record is not None
        machine.blank = blank if record.phase is Phase.ARMED else not blank
        machine.start()
        assert machine.content() == whole.content(), f"cut at {at}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_lives(chunk: int) -> None:
    expected, most = kit.after(BOTH), operations()
    for seed in range(chunk, LIVES, CHUNKS):
        rng = random.Random(seed)
        machine = Machine(seed)
        machine.arm()
        record = None
        for _ in range(rng.randint(1, 4)):
            try:
                record = machine.start(cut_at=rng.randint(1, most))
            except PowerCut:
                record = None
            if rng.random() < 0.3:  # between two starts one slot rots
                damage(machine, rng)
        record = record or machine.start()
        assert record is not None, f"seed {seed}"
        assert record.phase is Phase.DONE, f"seed {seed}"
        assert machine.content() == expected, f"seed {seed}"


def damage(machine: Machine, rng: random.Random) -> None:
    """To the slot that is not needed: a cut may have torn the other one, and two lost slots never wipe."""
    from edge_commander.wipe.journal import OFFSETS, SLOT, decode_slot

    valid = [decode_slot(bytes(machine.journal.medium[at : at + SLOT])) is not None for at in OFFSETS]
    if all(valid):
        machine.journal.medium[rng.choice(OFFSETS) + rng.randrange(300)] ^= 1 << rng.randrange(8)
