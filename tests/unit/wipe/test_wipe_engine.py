"""The wipe engine on devices in memory: what it does, in which order, and what makes it do nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.contracts.command import Verb
from agents.core.command_verify import CommandRefused, sign_command
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey, thumbprint
from edge_commander.wipe import record as records
from edge_commander.wipe.journal import OFFSETS, SLOT, Journal
from edge_commander.wipe.record import Phase, Stage, Target
from edge_commander.wipe.warrant import NoOperators, Warrant
from tests.fakes import wipe_kit as kit
from tests.fakes.block_device import PowerCut
from tests.fakes.wipe_kit import Machine

BOTH = (Target.VAR, Target.CONF)


def test_undisturbed_it_erases_what_is_named_and_nothing_else() -> None:
    machine = Machine()
    machine.arm()
    record = machine.start()
    assert record is not None
    assert record.phase is Phase.DONE
    assert machine.content() == kit.after(BOTH)
    assert [line.split(":")[0] for line in machine.said] == [
        "look at var, conf, and record how to erase", "var", "var", "var", "conf", "conf", "conf",
        "record that it is done, in both slots of the journal",
    ]  # fmt: skip


def test_where_early_boot_encrypts_it_anew_what_is_erased_stays_blank() -> None:
    machine = Machine(blank=True)
    machine.arm()
    record = machine.start()
    assert record is not None
    assert record.phase is Phase.DONE
    for target in BOTH:
        assert machine.content()[target] == bytes(kit.SIZES[target])
    assert not [line for line in machine.said if "file system" in line]


def test_without_a_journal_nothing_is_done() -> None:
    machine = Machine()
    assert machine.start() is None
    assert machine.content() == Machine().content()


def test_done_once_it_is_not_done_again() -> None:
    machine = Machine()
    machine.arm()
    machine.start()
    machine.devices[Target.VAR].medium[:] = b"n" * kit.SIZES[Target.VAR]
    before = machine.content()
    assert machine.start() is not None
    assert machine.content() == before


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("phase", ["done", "armed"])
def test_damage_to_either_slot_changes_nothing(slot: int, phase: str) -> None:
    """After its end a wipe is never done again; before it, one slot is enough to go on."""
    machine = Machine()
    machine.arm()
    if phase == "done":
        machine.start()
        machine.devices[Target.VAR].medium[:] = b"n" * kit.SIZES[Target.VAR]
    before = machine.content()
    machine.journal.medium[OFFSETS[slot] + 100] ^= 1
    machine.start()
    assert machine.content() == (before if phase == "done" else kit.after(BOTH))


def test_no_valid_slot_never_wipes() -> None:
    machine = Machine()
    machine.arm()
    for offset in OFFSETS:
        machine.journal.medium[offset + 60] ^= 1
    assert machine.start() is None
    assert machine.content() == Machine().content()


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (kit.armed(kit.STRANGER), "signature"),
        (kit.armed(node="n-" + "b" * 16), "node"),
        (kit.armed(site="store-00002"), "site"),
        (msgspec.structs.replace(kit.armed(), sequence=8), "record"),
        (msgspec.structs.replace(kit.armed(), id="b" * 32), "record"),
        (msgspec.structs.replace(kit.armed(), targets=kit.armed(targets=["keep"]).targets), "record"),
        (msgspec.structs.replace(kit.armed(), targets=kit.armed().targets[:1] * 2), "record"),
        (msgspec.structs.replace(kit.armed(), command=kit.signed(verb=Verb.REBOOT)), "verb"),
        (msgspec.structs.replace(kit.armed(), command=kit.signed(targets=["ident"])), "target"),
        (msgspec.structs.replace(kit.armed(), command=kit.signed(targets=["/dev/sda"])), "target"),
        (msgspec.structs.replace(kit.armed(), command=kit.signed(targets=[])), "target"),
    ],
)
def test_a_journal_that_somebody_wrote_by_himself_erases_nothing(record: records.WipeRecord, code: str) -> None:
    machine = Machine()
    machine.arm(record)
    end = machine.start()
    assert end is not None
    assert end.phase is Phase.REFUSED
    assert end.problem.startswith(f"{code}:")
    assert machine.content() == Machine().content()
    assert Journal(machine.journal).record == end


SECOND = SoftwareKey.generate("Ed25519")
BOTH_KEYS = {thumbprint(one.public): one.public for one in (kit.OPERATOR, SECOND)}


@pytest.mark.parametrize(
    "changed",
    [
        {"targets": ["keep"]},
        {"targets": ["var"], "args": {"rebuild": "yes"}},
        {"verb": Verb.RETIRE, "targets": ["ident", "var"]},
    ],
)
def test_past_a_blast_radius_early_boot_asks_for_as_many_signatures(changed: dict[str, Any]) -> None:
    for signers, code in ((1, "threshold:"), (2, "")):
        machine = Machine()
        machine.warrant = lambda: Warrant(kit.SITE, kit.NODE, BOTH_KEYS, 2)
        record = kit.armed(**changed)
        both = sign_command(kit.command(**changed), [kit.OPERATOR, SECOND][:signers])
        machine.arm(msgspec.structs.replace(record, command=both))
        end = machine.start()
        assert end is not None and end.problem.startswith(code)
        assert end.phase is (Phase.REFUSED if code else Phase.DONE)
        assert (machine.content() == Machine().content()) is bool(code)


def test_one_signature_is_enough_for_a_wipe_that_is_made_good_again() -> None:
    machine = Machine()
    machine.warrant = lambda: Warrant(kit.SITE, kit.NODE, BOTH_KEYS, 2)
    machine.arm()
    machine.start()
    assert machine.content() == kit.after(BOTH)


def test_one_amid_its_work_is_judged_as_well() -> None:
    machine = Machine()
    forged = msgspec.structs.replace(kit.armed(kit.STRANGER), phase=Phase.RUNNING)
    machine.arm(forged)
    machine.start()
    assert machine.content() == Machine().content()


def test_retirement_takes_the_identity_too() -> None:
    machine = Machine()
    machine.arm(kit.armed(verb=Verb.RETIRE, targets=["ident", "conf", "var", "keep"]))
    machine.start()
    assert machine.content() == kit.after(list(Target))


def test_where_it_cannot_be_judged_nothing_is_erased() -> None:
    machine = Machine()
    machine.arm()

    def unreadable() -> Warrant:
        raise Rejected("cannot be read")

    machine.warrant = unreadable
    with pytest.raises(Rejected):
        machine.start()
    assert machine.content() == Machine().content()
    machine.warrant = lambda: kit.WARRANT
    machine.start()
    assert machine.content() == kit.after(BOTH)


@pytest.mark.parametrize("fault", ["gone", "read_only"])
def test_a_target_that_refuses_is_given_up_after_bounded_attempts(fault: str) -> None:
    machine = Machine()
    machine.arm()
    setattr(machine.devices[Target.CONF], fault, True)
    record = machine.start()
    assert record is not None
    assert record.phase is Phase.FAILED
    assert "5 starts achieved nothing: conf: " in record.problem
    assert machine.content()[Target.CONF] == Machine().content()[Target.CONF]
    assert len([line for line in machine.said if line.endswith("tried again")]) in (5, 6)


def test_a_target_that_comes_back_is_erased() -> None:
    machine = Machine()
    machine.arm()
    machine.devices[Target.CONF].gone = True
    with pytest.raises(PowerCut):
        machine.start(cut_at=7)
    machine.devices[Target.CONF].gone = False
    record = machine.start()
    assert record is not None
    assert record.phase is Phase.DONE
    assert machine.content() == kit.after(BOTH)


def test_a_medium_that_keeps_a_byte_is_found_out() -> None:
    machine = Machine()
    machine.arm()
    machine.devices[Target.VAR].sticky = {1234: 7}
    record = machine.start()
    assert record is not None
    assert (record.phase, record.problem) == (Phase.FAILED, "var does not keep what is written to it")


def test_another_disk_in_its_place_is_not_taken_for_erased() -> None:
    machine = Machine()
    machine.arm()
    with pytest.raises(PowerCut):
        machine.start(cut_at=9)
    del machine.devices[Target.VAR].medium[-512:]
    record = machine.start()
    assert record is not None
    assert record.phase is Phase.FAILED
    assert "bytes now, and had" in record.problem


@pytest.mark.parametrize("fault", ["gone", "read_only"])
def test_with_a_journal_that_cannot_be_written_nothing_is_touched(fault: str) -> None:
    machine = Machine()
    machine.arm()
    journal = Journal(machine.journal)
    assert journal.record is not None
    setattr(machine.journal, fault, True)
    with pytest.raises(OSError, match="such device" if fault == "gone" else "Read-only"):
        journal.write(journal.record)
    with pytest.raises(OSError, match="such device" if fault == "gone" else "Read-only"):
        machine.start()  # a journal that cannot be read is not an empty one
    assert machine.content() == Machine().content()


def test_a_start_that_gets_on_counts_for_nothing_against_it() -> None:
    """Power that fails again and again is no failure of the disk."""
    machine = Machine()
    machine.arm()
    cuts = 0
    while True:
        try:
            record = machine.start(cut_at=11)
            break
        except PowerCut:
            cuts += 1
    assert record is not None
    assert (record.phase, cuts > 5) == (Phase.DONE, True)
    assert machine.content() == kit.after(BOTH)


def test_a_slot_that_is_too_long_is_refused_before_it_is_written() -> None:
    from edge_commander.wipe.journal import Slot, TooLong, encode_slot

    long = msgspec.structs.replace(kit.armed(), command=msgspec.structs.replace(kit.signed(), payload="x" * SLOT))
    with pytest.raises(TooLong):
        encode_slot(Slot(1, long))


def test_ends_are_ends() -> None:
    with pytest.raises(ValueError, match="no end"):
        records.ended(kit.armed(), Phase.RUNNING)
    assert all(one.stage is Stage.ERASE for one in kit.armed().targets)


def test_a_command_without_operators_is_refused() -> None:
    from edge_commander.wipe.warrant import judge

    with pytest.raises(CommandRefused):
        judge(kit.signed(), Warrant(kit.SITE, kit.NODE, {}, 1))


@pytest.mark.parametrize("judged", [True, False])
def test_a_retirement_cut_amid_ident_goes_on_though_ident_says_nothing_any_more(judged: bool) -> None:
    """Only there: one that was never judged, and cannot be, erases nothing."""
    machine = Machine()
    states = [records.TargetState(target=one, size=kit.SIZES[one], area=kit.SIZES[one]) for one in Target]
    armed = kit.armed(verb=Verb.RETIRE, targets=[one.value for one in Target])
    machine.arm(msgspec.structs.replace(records.surveyed(armed, states), judged=judged))

    def silent() -> Warrant:
        raise Rejected("ident cannot be mounted")

    machine.warrant = silent
    if judged:
        record = machine.start()
        assert record is not None and record.phase is Phase.DONE
        assert machine.content() == kit.after(list(Target))
    else:
        with pytest.raises(Rejected, match="cannot be mounted"):
            machine.start()
        assert machine.content() == Machine().content()


def test_while_nobody_is_known_to_judge_by_what_was_judged_before_does_not_count_either() -> None:
    """`ident` is whole there, and the settings are not: whoever takes them away has no wipe of his own by it."""
    machine = Machine()
    states = [records.TargetState(target=one, size=kit.SIZES[one], area=kit.SIZES[one]) for one in BOTH]
    forged = msgspec.structs.replace(records.surveyed(kit.armed(kit.STRANGER), states), judged=True)
    machine.arm(forged)

    def nobody() -> Warrant:
        raise NoOperators("no operators are known")

    machine.warrant = nobody
    with pytest.raises(NoOperators):
        machine.start()
    assert machine.content() == Machine().content()
    assert Journal(machine.journal).record == forged


def test_before_the_first_byte_of_ident_it_is_recorded_that_it_was_judged() -> None:
    machine = Machine()
    machine.arm(kit.armed(verb=Verb.RETIRE, targets=[one.value for one in Target]))
    record = machine.start()
    assert record is not None and record.judged
    machine = Machine()
    machine.arm()
    record = machine.start()
    assert record is not None and not record.judged
