"""The key file: both or neither, whichever step the power fails at; damaged keys wait for a person."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.core.jose import thumbprint
from agents.io import state as state_module
from edge_commander.keys import KEYS_NAME, FileKeyStore, KeysDamaged
from edge_commander.memory import Memory, prepare, read_record
from edge_commander.reasons import NodeRecord


class PowerCut(BaseException):
    """Nothing after it happens."""


def test_made_once_and_kept(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    assert store.load() is None
    made = store.create()
    again = FileKeyStore(tmp_path).load()
    assert again is not None
    assert (again.signer.public, again.sealing) == (made.signer.public, made.sealing)
    assert thumbprint(made.signer.public) != thumbprint(made.sealing)
    assert store.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeysDamaged):
        store.create()


def test_nothing_private_shows(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    keys = store.create()
    private = [part for part in store.path.read_text().split('"') if len(part) == 43]
    shown = repr(keys) + repr(keys.signer) + str(keys.signer.public) + str(keys.sealing)
    assert sum(part in shown for part in private) <= 4 < len(private)  # x and y of two keys, never d


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_damaged_keys_are_put_aside_and_never_replaced(tmp_path: Path, damage: str) -> None:
    store = FileKeyStore(tmp_path)
    store.create()
    data = store.path.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    FileKeyStore(other).create()
    damaged = {
        "truncate": data[: len(data) // 2],
        "flip": data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
        "empty": b"",
        "swap": data.replace(data[200:240], b"A" * 40),
    }[damage]
    store.path.write_bytes(damaged)
    for _ in range(3):  # also after restarts
        with pytest.raises(KeysDamaged) as error:
            FileKeyStore(tmp_path).load()
        assert KEYS_NAME in error.value.file
        with pytest.raises(KeysDamaged):
            FileKeyStore(tmp_path).create()
    assert [path.read_bytes() for path in tmp_path.glob("*.corrupt-*")] == [damaged]
    store.path.write_bytes(data)  # a person put them back
    assert FileKeyStore(tmp_path).load() is not None


def test_power_cut_at_every_step_of_making_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["open", "write", "fsync", "replace", "fsync"]
    for cut in range(2 * len(steps)):
        place = tmp_path / str(cut)
        place.mkdir()
        with monkeypatch.context() as patch:
            _cut_at(patch, cut)
            try:
                first = FileKeyStore(place).create()
            except PowerCut:
                first = None
        found = FileKeyStore(place).load()
        if first is not None:
            assert found is not None and found.signer.public == first.signer.public
        if found is None:
            found = FileKeyStore(place).create()
        assert FileKeyStore(place).load().signer.public == found.signer.public  # type: ignore[union-attr]
        assert not list(place.glob("*.corrupt-*"))
        assert [path.name for path in place.iterdir() if not path.name.startswith(".")] == [KEYS_NAME]


def _cut_at(patch: pytest.MonkeyPatch, cut: int) -> None:
    """Cuts before (even) or after (odd) the n-th system call that touches the disk; a write may be half done."""
    count = [0]

    def step(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **more: object) -> object:
            n = count[0]
            count[0] += 2
            if n == cut:
                if call is os_write:
                    os_write(args[0], bytes(args[1])[:10])
                raise PowerCut
            result = call(*args, **more)
            if n + 1 == cut:
                raise PowerCut
            return result

        return wrapped

    os_write = os.write
    patch.setattr(state_module.os, "open", step(os.open))
    patch.setattr(state_module.os, "write", step(os.write))
    patch.setattr(state_module.os, "fsync", step(os.fsync))
    patch.setattr(Path, "replace", step(Path.replace))


def test_memory_is_one_process_at_a_time(tmp_path: Path) -> None:
    held = prepare(tmp_path / "ident")
    with pytest.raises(Rejected, match="another edge-commander"):
        prepare(tmp_path / "ident")
    held.release()
    prepare(tmp_path / "ident").release()
    assert (tmp_path / "ident").stat().st_mode & 0o777 == 0o700


def test_memory_survives_and_quarantines(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.save_record(NodeRecord(since=7, site="store-1"))
    memory.save_time(99)
    again = Memory(tmp_path)
    assert (again.record.since, again.last_good) == (7, 99)
    assert read_record(tmp_path) == memory.record
    (tmp_path / "state.json").write_text("{")
    assert read_record(tmp_path) is None and (tmp_path / "state.json").exists()  # a bystander puts nothing aside
    assert Memory(tmp_path).record == NodeRecord()
    assert Memory(tmp_path).damaged() == ["state.json.corrupt-1"]
