"""The next step of an A/B update, the words of its command, the boot entries, and who is well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.command import Command, JwsSignature, SignedCommand, Verb
from agents.contracts.messages import NodeState
from agents.contracts.release import ImageRelease, ReleaseFile
from edge_commander.settings import UpdateSettings
from edge_commander.update import entries, gate, plan, slots
from edge_commander.update.plan import (
    End,
    Facts,
    FetchFile,
    FetchRelease,
    Install,
    Reboot,
    TakeTurn,
    Wait,
    next_step,
)
from edge_commander.update.record import Stage, UpdateRecord, older, takes, wanted
from edge_commander.view import Around, MemberView, StatusDocument

FILE = ReleaseFile(sha256="1" * 64, size=1000)
RELEASE = ImageRelease(version="1.3.0", root=FILE, kernel_a=FILE, kernel_b=FILE, issued=5)
SIGNED = SignedCommand(payload="as it came", signatures=[JwsSignature(protected="p", signature="s")])
RECORD = UpdateRecord(
    id="a" * 32, version="1.3.0", sha256="2" * 64, address="https://images.example/1.3.0", signed=SIGNED
)
TRIED = "tried: it must be well before it stays"
WHOLE = frozenset({"root.img", "kernel-b.efi"})


def facts(stage: Stage = Stage.FETCH, **changed: Any) -> Facts:
    record = {one: changed.pop(one) for one in ("boot_asked", "mismatches", "problem", "signed") if one in changed}
    record = {"boot" if name == "boot_asked" else name: value for name, value in record.items()}
    known: dict[str, Any] = {"slot": "a", "version": "1.2.0", "boot": "b1", "release": RELEASE, "free": 2**40}
    return Facts(record=msgspec.structs.replace(RECORD, stage=stage, **record), **{**known, **changed})


@pytest.mark.parametrize(
    ("known", "step"),
    [
        (facts(release=None), FetchRelease()),
        (
            facts(signed=None),
            End("an older version took it up, and did not keep the command's signature: send it again"),
        ),
        (facts(Stage.INSTALLED, signed=None, turn=True), Reboot(first=True)),
        (facts(), FetchFile("root.img")),
        (facts(whole=frozenset({"root.img"})), FetchFile("kernel-b.efi")),
        (facts(slot="b", whole=frozenset({"root.img", "kernel-a.efi"})), TakeTurn()),
        (facts(whole=WHOLE), TakeTurn()),
        (facts(whole=WHOLE, held="nuc-2"), Wait("nuc-2 is updated first")),
        (facts(whole=WHOLE, unready="nuc-3"), Wait("nuc-3 is not whole")),
        (facts(whole=WHOLE, turn=True), Install("b")),
        (facts(Stage.INSTALLED, turn=True), Reboot(first=True)),
        (facts(Stage.INSTALLED, unready="nuc-3"), Wait("nuc-3 is not whole")),
        (facts(Stage.TRIAL, boot_asked="b1"), Reboot(first=False)),
        (facts(Stage.TRIAL, boot_asked="b1", asked=10.0), Wait("the reboot is under way")),
        (facts(Stage.TRIAL, boot_asked="b1", asked=300.0), Reboot(first=False)),
        (facts(Stage.TRIAL, boot_asked="b0", version="1.3.0", slot="b"), End()),
        (
            facts(Stage.TRIAL, boot_asked="b0", version="1.3.0", trial=True),
            Wait(TRIED),
        ),
        (facts(version="1.3.0"), End()),
        (facts(version="1.3.0", trial=True), Wait(TRIED)),
        (facts(Stage.INSTALLED, version="1.3.0", trial=True), Wait(TRIED)),
        (facts(Stage.DONE), End()),
        (facts(Stage.FAILED, problem="so it is"), End("so it is")),
    ],
)
def test_what_comes_next(known: Facts, step: plan.Step) -> None:
    assert next_step(known) == step


def test_an_image_that_did_not_start_is_told_with_the_one_that_runs_instead() -> None:
    step = next_step(facts(Stage.TRIAL, boot_asked="b0"))
    assert step == End("1.3.0 did not start, or was not well: the node runs 1.2.0 again")


def test_a_machine_without_two_roots_and_a_file_that_never_fits_end_it() -> None:
    assert "does not run from one of two roots" in str(next_step(facts(slot="")))
    assert next_step(facts(mismatches=3)) == End("3 times a file came with other bytes than the release says")


def test_a_disk_without_room_is_waited_for_and_what_is_here_already_counts() -> None:
    needed = 2000 + plan.SPARE_BYTES
    assert isinstance(next_step(facts(free=needed - 1)), Wait)
    assert next_step(facts(free=needed - 1, begun={"root.img": 400})) == FetchFile("root.img")


def command(**args: str) -> Command:
    known = {"version": "1.3.0", "sha256": "2" * 64, "address": "https://images.example/1.3.0/"}
    kept = {name: value for name, value in {**known, **args}.items() if value}
    return Command(id="a" * 32, verb=Verb.UPGRADE, site="store-1", node="n-" + "a" * 16, sequence=1, challenge="c",
                   issued=1, expires=2, args=kept)  # fmt: skip


def test_the_command_s_words_become_the_record() -> None:
    assert msgspec.structs.replace(wanted(command()), signed=SIGNED) == RECORD


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"version": "latest"}, "arg version must be numbers and dots"),
        ({"sha256": "abc"}, "arg sha256 must be the release document's SHA-256"),
        ({"address": "http://images.example"}, "arg address must be an https address"),
        ({"address": "https://images.example/?x"}, "arg address must be an https address"),
        ({"address": "https://[2001:db8::1/1.3.0"}, "arg address is no address"),
        ({"address": "https://images..example"}, "arg address is no address"),
        ({"address": ""}, "address missing"),
        ({"version": "", "sha256": ""}, "version, sha256 missing"),
    ],
)
def test_what_is_wrong_with_the_words_is_named(args: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wanted(command(**args))


def test_another_update_waits_for_one_that_is_past_fetching() -> None:
    for stage in Stage:
        present = msgspec.structs.replace(RECORD, stage=stage)
        assert bool(takes(present, RECORD)) is (stage in {Stage.INSTALLED, Stage.TRIAL})


@pytest.mark.parametrize(
    ("version", "than", "is_older"),
    [("1.2.0", "1.10.0", True), ("1.10.0", "1.2.0", False), ("1.2", "1.2.0", True), ("1.2.0", "1.2.0", False),
     ("1.2.0", "", False), ("1.2.0", "trixie", False)],
)  # fmt: skip
def test_which_of_two_images_the_boot_loader_starts(version: str, than: str, *, is_older: bool) -> None:
    assert older(version, than) is is_older


def test_entries_that_cannot_be_read_yet_are_no_word_for_an_image(tmp_path: Path) -> None:
    settings = UpdateSettings(esp=str(tmp_path / "efi"))
    assert slots.on_trial(settings, "b", "1.3.0")
    place = tmp_path / "efi" / entries.FOLDER
    place.mkdir(parents=True)
    (place / entries.new("1.3.0", "b")).touch()
    assert slots.on_trial(settings, "b", "1.3.0")
    (place / entries.new("1.3.0", "b")).rename(place / entries.trusted("1.3.0", "b"))
    assert not slots.on_trial(settings, "b", "1.3.0")


def test_the_slot_is_known_to_a_daemon_that_sees_no_devices(tmp_path: Path) -> None:
    """Its own /dev has none: early boot's links lead nowhere, and the kernel's names are what is left."""
    number = (tmp_path / "usr").parent.stat().st_dev
    for name, numbers in (("vda2", "259:1"), ("vda3", f"{os.major(number)}:{os.minor(number)}")):
        (tmp_path / "block" / name).mkdir(parents=True)
        (tmp_path / "block" / name / "dev").write_text(numbers + "\n")
    for slot, name in (("a", "vda2"), ("b", "vda3")):
        (tmp_path / f"root-{slot}").symlink_to(tmp_path / "dev" / name)
    settings = UpdateSettings(root_a=str(tmp_path / "root-a"), root_b=str(tmp_path / "root-b"))
    assert slots.running(settings, tmp_path, tmp_path / "block") == "b"
    (tmp_path / "block/vda3/dev").write_text("259:9\n")
    assert slots.running(settings, tmp_path, tmp_path / "block") == "", "a stick was started"
    (tmp_path / "block/vda3/dev").unlink()
    assert slots.running(settings, tmp_path, tmp_path / "block") == ""


def test_boot_entries_are_read_as_the_boot_loader_counts_them() -> None:
    names = ["galley_1.2.0_a.efi", "galley_1.3.0_b+2-1.efi", "galley_1.3.0_b+0-3.efi", "other.efi", "galley_x_a.efi"]
    found = entries.read(names)
    assert [(one.version, one.slot, one.left, one.trial) for one in found] == [
        ("1.2.0", "a", None, False),
        ("1.3.0", "b", 2, True),
        ("1.3.0", "b", 0, True),
    ]
    assert entries.read([entries.new("1.3.0", "b")])[0].left == entries.TRIES


@pytest.mark.parametrize(
    ("member", "state", "reason", "units", "missing"),
    [
        (True, NodeState.READY, "", True, ""),
        (True, NodeState.READY, "waiting: endpoint", True, ""),  # a line that is down costs no image
        (True, NodeState.READY, "waiting: api", True, "was a member"),
        (True, NodeState.FORMING, "starting", True, "was a member"),
        (False, NodeState.ENROLLING, "waiting: endpoint", True, ""),
        (True, NodeState.READY, "", False, "units are not up"),
    ],
)
def test_who_is_well(member: bool, state: NodeState, reason: str, units: bool, missing: str) -> None:
    record = msgspec.structs.replace(RECORD, stage=Stage.TRIAL, member=member)
    around = Around(name="nuc-1", members=[MemberView(name="nuc-1", ready=True, server=True)])
    status = StatusDocument(state=state, reason=reason, since=0, node=None, site=None, around=around)
    assert missing in gate.well(record, status, units)
    assert bool(gate.well(record, status, units)) is bool(missing)
    assert gate.well(record, None, True) == "Edge Commander does not answer"


def test_a_member_must_be_one_again_also_where_the_power_went_before_the_trial_was_recorded() -> None:
    status = StatusDocument(state=NodeState.FORMING, reason="starting", since=0, node=None, site=None)
    for stage, missing in ((Stage.FETCH, True), (Stage.INSTALLED, True), (Stage.DONE, False)):
        record = msgspec.structs.replace(RECORD, stage=stage, member=True)
        assert bool(gate.well(record, status, True)) is missing, stage


def test_ready_as_it_was_remembered_from_the_image_before_is_no_word_for_this_one() -> None:
    """Until the first look at the cluster, the commander shows the state that it had before the reboot."""
    record = msgspec.structs.replace(RECORD, stage=Stage.TRIAL, member=True)
    others = [MemberView(name="nuc-2", ready=True, server=True)]
    own = [MemberView(name="nuc-1", ready=ready, server=True) for ready in (False, True)]
    for members, well in (([], False), (others, False), ([*others, own[0]], False), ([*others, own[1]], True)):
        around = Around(name="nuc-1", members=members)
        status = StatusDocument(state=NodeState.READY, reason="", since=0, node=None, site=None, around=around)
        assert bool(gate.well(record, status, True)) is not well, members


@pytest.mark.parametrize("active", [gate.UNITS[:1], gate.UNITS[1:], gate.UNITS])
def test_each_of_the_units_must_be_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, active: tuple[str, ...]) -> None:
    """A systemctl that answers as the real one: 0 where any of those that it is asked for is active."""
    program = tmp_path / "systemctl"
    program.write_text(
        f'#!/bin/sh\nfor unit; do case " {" ".join(active)} " in *" $unit "*) exit 0;; esac; done; exit 3\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gate._active() is (active == gate.UNITS)


def test_the_gate_ends_before_the_unit_that_leaves_an_image_in_any_case() -> None:
    """Else an image that is slow, and well in the time that was set, would be left for a reason that nobody says."""
    script = (Path(__file__).parents[3] / "images/nuc/files/usr/lib/galley/trial").read_text()
    hour = float(script.partition("GALLEY_TRIAL_SECONDS:-")[2].partition("}")[0])
    longest = msgspec.convert({"trial_seconds": 3000}, UpdateSettings).trial_seconds
    assert longest + 300 <= hour
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"trial_seconds": hour}, UpdateSettings)
