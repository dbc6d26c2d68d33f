"""The root half installs no image but the one that operators' newest command for this node names."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contracts.command import SignedCommand, Verb
from agents.contracts.release import DOCUMENT, ImageRelease, ReleaseFile
from agents.core.jose import SoftwareKey
from agents.core.releases import sign_release
from agents.io.config import load
from agents.io.state import StateFile
from edge_commander.halves.answer import Answer, Family
from edge_commander.machine.runner import answer
from edge_commander.machine.wire import Ask
from edge_commander.memory import STATE_NAME
from edge_commander.reasons import NodeRecord
from edge_commander.settings import CommanderSettings
from edge_commander.update import install, slots
from tests.fakes import wipe_kit as kit

FILE = ReleaseFile(sha256="1" * 64, size=1000)


def release(version: str, key: SoftwareKey = kit.OPERATOR) -> bytes:
    one = ImageRelease(version=version, root=FILE, kernel_a=FILE, kernel_b=FILE, issued=1000)
    return sign_release(one, [key])


class Half:
    """One node's files; `put`: what was written to the idle root."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.esp, self.put = folder / "efi", list[str]()
        self.fetched = folder / "state/edge-commander/release"
        for one in (self.esp, self.fetched, folder / "ident"):
            one.mkdir(parents=True)
        (folder / "operators.json").write_text(json.dumps({"v": 1, "operators": [kit.OPERATOR.public]}))
        StateFile(folder / "ident" / STATE_NAME, NodeRecord).save(NodeRecord(node=kit.NODE, site=kit.SITE))
        own = {
            "keys_dir": str(folder / "ident"),
            "operators_file": str(folder / "operators.json"),
            "update": {"esp": str(self.esp)},
        }
        node = {"state_dir": str(folder / "state")}
        self.config = folder / "galley.yaml"
        self.config.write_text(json.dumps({"v": 1, "node": node, "edge_commander": own}))
        monkeypatch.setattr(slots, "running", lambda settings: "a")
        monkeypatch.setattr(install, "put", lambda slot, one, *rest: self.put.append(f"{one.version} to {slot}"))

    def ask(self, command: SignedCommand | None, argument: str = "") -> Answer:
        request = msgspec.json.encode(Ask(operation="update", argument=argument, command=command))
        return answer(request, lambda: load("edge_commander", CommanderSettings, self.config))

    def fetch(self, document: bytes) -> None:
        (self.fetched / DOCUMENT).write_bytes(document)


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Half:
    return Half(tmp_path, monkeypatch)


def ordering(document: bytes, version: str, key: SoftwareKey = kit.OPERATOR, **changed: Any) -> SignedCommand:
    args = {
        "version": version,
        "sha256": hashlib.sha256(document).hexdigest(),
        "address": "https://images.example/x",
    }
    return kit.signed(key, **{"verb": Verb.UPGRADE, "targets": [], "args": args, **changed})


OLD, NEW = release("1.2.0"), release("1.3.0")


def test_what_operators_order_is_installed_and_again_after_a_crash(half: Half) -> None:
    half.fetch(NEW)
    for _ in range(2):
        assert half.ask(ordering(NEW, "1.3.0")).value == "b"
    assert half.put == ["1.3.0 to b"] * 2


def test_without_a_command_nothing_is_even_judged(half: Half) -> None:
    half.fetch(OLD)
    for argument in ("", "1.2.0"):
        said = half.ask(None, argument)
        assert said.family is Family.REFUSED and not half.put


def test_an_older_release_of_operators_takes_another_command(half: Half) -> None:
    """A stolen commander puts an old image's document where the ordered one was fetched to."""
    half.fetch(OLD)
    for version in ("1.2.0", "1.3.0"):
        said = half.ask(ordering(NEW, version))
        assert said.family is Family.REFUSED and "is not the document that the command names" in said.text
    assert not half.put and not list(half.esp.iterdir())


def test_an_older_command_is_over_once_a_newer_one_was_carried_out(half: Half) -> None:
    half.fetch(NEW)
    assert half.ask(ordering(NEW, "1.3.0", id="b" * 32, sequence=8)).value == "b"
    half.fetch(OLD)
    for sequence in (7, 8):
        said = half.ask(ordering(OLD, "1.2.0", sequence=sequence))
        assert said.family is Family.REFUSED and "was carried out after this one" in said.text
    assert half.put == ["1.3.0 to b"]
    assert half.ask(ordering(OLD, "1.2.0", id="c" * 32, sequence=9)).value == "b"  # who orders the way back, gets it


def test_a_damaged_word_of_the_last_command_is_put_aside_and_said(
    half: Half, capsys: pytest.CaptureFixture[str]
) -> None:
    """The esp is FAT, and power may fail: a node that takes no command ever again would be worse."""
    half.fetch(NEW)
    assert half.ask(ordering(NEW, "1.3.0", sequence=8)).value == "b"
    (half.esp / "EFI/galley/installed.json").write_bytes(b"\0" * 512)
    capsys.readouterr()
    assert half.ask(ordering(NEW, "1.3.0", id="b" * 32, sequence=9)).value == "b"
    said = capsys.readouterr().err
    assert "installed.json: was damaged, and is put aside as installed.json.corrupt-1" in said
    assert half.ask(ordering(NEW, "1.3.0", sequence=7)).family is Family.REFUSED


def test_a_release_that_is_refused_spends_no_command(half: Half) -> None:
    bad = release("1.4.0", kit.STRANGER)
    half.fetch(bad)
    assert half.ask(ordering(bad, "1.4.0", id="b" * 32, sequence=8)).family is Family.REFUSED
    half.fetch(NEW)
    assert half.ask(ordering(NEW, "1.3.0")).value == "b"


@pytest.mark.parametrize(
    ("key", "changed", "why"),
    [
        (kit.STRANGER, {}, "signature"),
        (kit.OPERATOR, {"node": "n-" + "b" * 16}, "node"),
        (kit.OPERATOR, {"site": "store-00002"}, "site"),
        (kit.OPERATOR, {"args": {"version": "1.3.0"}}, "missing"),
        (kit.OPERATOR, {"verb": Verb.WIPE, "targets": ["var"], "args": {}}, "orders no image"),
        (kit.OPERATOR, {"verb": Verb.REBOOT, "args": {}}, "orders no image"),
    ],
)
def test_a_command_that_this_node_does_not_believe_installs_nothing(
    half: Half, key: SoftwareKey, changed: dict[str, Any], why: str
) -> None:
    half.fetch(NEW)
    said = half.ask(ordering(NEW, "1.3.0", key, **changed))
    assert said.family is Family.REFUSED and why in said.text and not half.put


def test_an_esp_that_cannot_be_written_is_tried_again_and_nothing_was_installed(half: Half) -> None:
    half.fetch(NEW)
    half.esp.rmdir()
    half.esp.write_text("no folder")
    assert half.ask(ordering(NEW, "1.3.0")).family is Family.RETRY and not half.put


@pytest.mark.timeout(20)
def test_a_document_that_is_a_pipe_or_a_link_holds_nobody_up(half: Half) -> None:
    os.mkfifo(half.fetched / DOCUMENT)
    said = half.ask(ordering(NEW, "1.3.0"))
    assert said.family is Family.REFUSED and "is no file" in said.text
    (half.fetched / DOCUMENT).unlink()
    (half.fetched / "elsewhere").write_bytes(NEW)
    (half.fetched / DOCUMENT).symlink_to(half.fetched / "elsewhere")
    assert half.ask(ordering(NEW, "1.3.0")).family is Family.REFUSED and not half.put
