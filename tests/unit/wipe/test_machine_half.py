"""The machine's root half: what may be asked, and that it takes nobody's word for a wipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.command import SignedCommand
from agents.contracts.ids import Stream
from agents.core.jose import SoftwareKey
from agents.io.config import load
from agents.io.outbox.store import create
from agents.io.state import StateFile
from edge_commander.halves.answer import Answer, Family
from edge_commander.machine.runner import OF_THE_NODE, TABLE, answer
from edge_commander.machine.wire import OPERATIONS, Ask, problem
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.settings import CommanderSettings
from edge_commander.wipe import record as records
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.journal import SIZE, Journal
from edge_commander.wipe.record import Phase, WipeRecord
from tests.fakes import wipe_kit as kit


class Half:
    """One node's files; the journal is a plain file."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.ident, self.config = folder / "journal", folder / "ident", folder / "galley.yaml"
        self.journal.write_bytes(bytes(SIZE))
        self.ident.mkdir()
        (folder / "operators.json").write_text(json.dumps({"v": 1, "operators": [kit.OPERATOR.public]}))
        StateFile(self.ident / STATE_NAME, NodeRecord).save(NodeRecord(node=kit.NODE, site=kit.SITE))
        own = {
            "keys_dir": str(self.ident),
            "operators_file": str(folder / "operators.json"),
            "wipe": {"journal": str(self.journal)},
            "machine": {"reboot": ["touch", str(folder / "rebooted")]},
        }
        node = {"state_dir": str(folder / "state")}
        self.config.write_text(json.dumps({"v": 1, "node": node, "edge_commander": own}))
        self.state = folder / "state"

    def ask(self, operation: str, argument: str = "", command: SignedCommand | None = None) -> Answer:
        request = msgspec.json.encode(Ask(operation=operation, argument=argument, command=command))
        return answer(request, lambda: load("edge_commander", CommanderSettings, self.config))

    @property
    def record(self) -> WipeRecord | None:
        with Disk(self.journal) as device:
            return Journal(device).record

    def put(self, record: WipeRecord) -> None:
        with Disk(self.journal) as device:
            Journal(device).write_both(record)


@pytest.fixture
def half(tmp_path: Path) -> Half:
    return Half(tmp_path)


def test_the_list_is_closed_and_each_operation_takes_what_it_takes() -> None:
    assert set(OPERATIONS) == {*TABLE, *OF_THE_NODE}
    assert problem(Ask(operation="rm -rf /")) == "no such operation"
    for name, takes in OPERATIONS.items():
        fit = "a" * 32 if takes.argument else ""
        command = kit.signed() if takes.command else None
        assert problem(Ask(operation=name, argument=fit, command=command)) == ""
        assert problem(Ask(operation=name, argument="" if fit else "x", command=command))
        assert problem(Ask(operation=name, argument=fit, command=None if command else kit.signed()))
    assert problem(Ask(operation="reported", argument="../" + "a" * 29))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"operation": "reboot", "device": "/dev/sda"}', b"[" * 100_000])
def test_what_is_no_request_is_refused(half: Half, data: bytes) -> None:
    said = answer(data, lambda: load("edge_commander", CommanderSettings, half.config))
    assert (said.family, said.text) == (Family.REFUSED, "the request is malformed")


def test_armed_once_with_what_nobody_acknowledged_and_shown_without_the_command(half: Half) -> None:
    assert half.ask("wipe-state").value is None
    (half.state / "heartbeat").mkdir(parents=True)
    create(half.state / "heartbeat/outbox.db", Stream.HEARTBEAT)
    signed = kit.signed()
    for _ in range(2):
        assert half.ask("arm", command=signed).value == "armed"
    found = half.record
    assert found is not None and (found.phase, found.command, found.unsent) == (Phase.ARMED, signed, [])
    shown = half.ask("wipe-state").value
    assert (shown["phase"], shown["id"], "command" in shown) == ("armed", "a" * 32, False)
    half.put(records.ended(found, Phase.DONE))
    assert half.ask("arm", command=signed).value == "done"  # the same again changes nothing
    assert half.ask("reported", "b" * 32).value is False
    assert half.ask("reported", "a" * 32).value is True
    found = half.record
    assert found is not None and (found.phase, found.reported) == (Phase.DONE, True)


@pytest.mark.parametrize(
    ("key", "changed", "why"),
    [
        (SoftwareKey.generate("Ed25519"), {}, "signature"),
        (kit.OPERATOR, {"node": "n-" + "b" * 16}, "node"),
        (kit.OPERATOR, {"site": "store-00002"}, "site"),
        (kit.OPERATOR, {"targets": ["/dev/sda"]}, "target"),
        (kit.OPERATOR, {"targets": ["ident"]}, "target"),
        (kit.OPERATOR, {"verb": "reboot", "targets": []}, "erases nothing"),
    ],
)
def test_a_command_that_this_node_does_not_believe_arms_nothing(
    half: Half, key: SoftwareKey, changed: dict[str, Any], why: str
) -> None:
    said = half.ask("arm", command=kit.signed(key, **msgspec.convert(changed, dict[str, Any])))
    assert said.family is Family.REFUSED and why in said.text
    assert half.record is None


def test_an_older_command_and_one_amid_another_wipe_arm_nothing(half: Half) -> None:
    first = kit.armed()
    half.put(first)
    assert half.ask("arm", command=kit.signed(id="b" * 32, sequence=8)).family is Family.REFUSED  # one is armed
    half.put(records.ended(first, Phase.DONE))
    for sequence in (6, 7):
        assert half.ask("arm", command=kit.signed(id="b" * 32, sequence=sequence)).family is Family.REFUSED
    assert half.ask("reported", "a" * 32).value is True
    assert half.ask("arm", command=kit.signed(id="b" * 32, sequence=8)).value == "armed"


def test_what_another_site_ordered_of_this_box_before_hinders_no_wipe(half: Half) -> None:
    """Retired there, it was shipped here, perhaps from another fleet, whose sequences say nothing of this one's. The
    journal is what no wipe takes."""
    ours = kit.signed(id="b" * 32)
    half.put(records.ended(kit.armed(site="store-00002", sequence=99), Phase.DONE))
    assert half.ask("arm", command=ours).value == "armed"
    half.put(records.ended(kit.armed(sequence=99), Phase.DONE))
    assert "of sequence 99: done" in half.ask("arm", command=ours).text
    half.put(kit.armed(site="store-00002", sequence=1))
    assert "of sequence 1: armed" in half.ask("arm", command=ours).text


def test_a_journal_that_is_busy_or_gone_is_tried_again_and_a_state_that_is_gone_is_not(half: Half) -> None:
    half.journal.rename(half.journal.with_suffix(".away"))
    assert half.ask("wipe-state").family is half.ask("arm", command=kit.signed()).family is Family.RETRY
    half.journal.with_suffix(".away").rename(half.journal)
    (half.ident / STATE_NAME).unlink()
    assert half.ask("arm", command=kit.signed()).family is Family.REFUSED
    assert half.record is None


def test_the_machine_starts_anew_by_the_program_that_is_set(half: Half) -> None:
    assert half.ask("reboot").family is Family.DONE
    assert half.config.with_name("rebooted").exists()
    half.config.write_text(half.config.read_text().replace('"touch"', '"no-such-program"'))
    assert half.ask("reboot").family is Family.RETRY
