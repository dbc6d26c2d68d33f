"""Early boot whose journal or settings fail amid a wipe: what it ends with decides whether the targets are mounted."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import msgspec
import pytest

from agents.io.state import StateFile
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.settings import CommanderSettings, WipeSettings
from edge_commander.wipe import boot
from edge_commander.wipe import record as records
from edge_commander.wipe.disk import Disk
from edge_commander.wipe.journal import SIZE, Journal
from edge_commander.wipe.record import Phase, Target, TargetState, WipeRecord
from tests.fakes import wipe_kit as kit

BOTH = (Target.VAR, Target.CONF)
CONTENT = b"line of a secret" * 65536


class Worn(Disk):
    """A disk of which one file takes `left` more writes."""

    left = 0
    journal = Path()

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._worn = path == Worn.journal

    def write(self, offset: int, data: bytes) -> None:
        if self._worn:
            if Worn.left == 0:
                raise OSError(errno.EIO, "Input/output error")
            Worn.left -= 1
        super().write(offset, data)


@pytest.fixture
def own(tmp_path: Path) -> CommanderSettings:
    """A node of three files, with an armed wipe of `conf` and `var`."""
    places = {name: tmp_path / name for name in ("journal", "conf", "var")}
    for place in places.values():
        place.write_bytes(CONTENT)
    places["journal"].write_bytes(bytes(SIZE))
    StateFile(tmp_path / STATE_NAME, NodeRecord).save(NodeRecord(node=kit.NODE, site=kit.SITE))
    operators = tmp_path / "operators.json"
    operators.write_text(json.dumps({"v": 1, "operators": [kit.OPERATOR.public]}))
    with Disk(places["journal"]) as device:
        Journal(device).write_both(kit.armed())
    wipe = WipeSettings(**{name: str(place) for name, place in places.items()})
    return CommanderSettings(keys_dir=str(tmp_path), operators_file=str(operators), wipe=wipe)


@pytest.mark.parametrize("writes", range(6))
def test_what_is_erased_in_part_is_not_mounted(
    own: CommanderSettings, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same start that began it too; what was not touched may be mounted."""
    journal = Path(own.wipe.journal)
    monkeypatch.setattr(Worn, "left", writes)
    monkeypatch.setattr(Worn, "journal", journal)
    monkeypatch.setattr("edge_commander.wipe.boot.Disk", Worn)
    ended = boot.run(own)
    whole = all(Path(place).read_bytes() == CONTENT for place in (own.wipe.conf, own.wipe.var))
    assert ended == 1 or whole
    monkeypatch.undo()
    assert boot.run(own) == 0
    assert _record(own).phase is Phase.DONE


def _record(own: CommanderSettings) -> WipeRecord:
    with Disk(Path(own.wipe.journal)) as device:
        record = Journal(device).record
    assert record is not None
    return record


def _begun(own: CommanderSettings) -> None:
    """The first block of `var` is erased."""
    size = len(CONTENT)
    record = records.surveyed(_record(own), [TargetState(target=one, size=size, area=size) for one in BOTH])
    with Disk(Path(own.wipe.journal)) as device:
        Journal(device).write_both(record)
    Path(own.wipe.var).write_bytes(bytes(4096) + CONTENT[4096:])


@pytest.mark.parametrize("begun", [False, True])
def test_without_operators_a_wipe_is_neither_carried_out_nor_given_up(own: CommanderSettings, begun: bool) -> None:
    """The esp with the settings may be unreadable at one start: that says nothing of the command. It was ended as
    refused, for good, and what was erased in part was mounted."""
    if begun:
        _begun(own)
    before, content = _record(own), Path(own.wipe.var).read_bytes()
    assert boot.run(msgspec.structs.replace(own, operators_file=None)) == int(begun)
    assert (_record(own), Path(own.wipe.var).read_bytes()) == (before, content)
    assert boot.run(own) == 0
    assert _record(own).phase is Phase.DONE


@pytest.mark.parametrize("begun", [False, True])
def test_with_settings_that_are_wrong_the_journal_is_looked_at_all_the_same(
    own: CommanderSettings, begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun:
        _begun(own)
    monkeypatch.setattr("edge_commander.wipe.boot.WipeSettings", lambda: own.wipe)
    (tmp_path / "galley.yaml").write_text("v: 1\nedge_commander: {colour: red}\n")
    assert boot.main(["--config", str(tmp_path / "galley.yaml")]) == int(begun)
    monkeypatch.setattr("edge_commander.wipe.boot.WipeSettings", lambda: WipeSettings(journal=str(tmp_path / "none")))
    assert boot.main(["--config", str(tmp_path / "galley.yaml")]) == 0
