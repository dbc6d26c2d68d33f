"""The durable file: after a crash at any step the old value or the new one is there, whole; corrupt ones are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from agents.io import state
from agents.io.state import StateFile, create_durably, write_durably


class Value(msgspec.Struct, frozen=True):
    n: int
    text: str = ""


class Crash(BaseException):
    """The power is gone."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_nothing_then_a_value_then_the_next(path: Path) -> None:
    file = StateFile(path, Value)
    assert file.load() is None and file.quarantined == []
    file.save(Value(1))
    file.save(Value(2, "x"))
    again = StateFile(path, Value)
    assert again.load() == Value(2, "x") and again.generation == 2
    again.save(Value(3))
    assert msgspec.json.decode(path.read_bytes())["generation"] == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("step", range(6))
def test_a_crash_at_any_step_leaves_the_old_or_the_new(path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    StateFile(path, Value).save(Value(1))
    left = [step]

    def due(call: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            return call(*arguments, **named)

        return wrapped

    file = StateFile(path, Value)
    file.load()
    with monkeypatch.context() as patch:
        for module, name in [(os, "open"), (os, "write"), (os, "fsync"), (Path, "replace")]:
            patch.setattr(module, name, due(getattr(module, name)))
        with pytest.raises(Crash):
            file.save(Value(2))
    again = StateFile(path, Value)
    assert again.load() == Value(1 if step < 4 else 2) and not again.quarantined
    again.save(Value(3))
    assert StateFile(path, Value).load() == Value(3)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"\xff\xff", b'{"schema":1,"generation":1,"sha256":"00","value":{"n":1}}', b"[" * 50_000],
)
def test_a_corrupt_file_is_kept_aside_and_remembered(path: Path, data: bytes) -> None:
    for n in (1, 2):
        path.write_bytes(data)
        file = StateFile(path, Value)
        assert file.peek() is None and path.read_bytes() == data  # a bystander puts nothing aside
        assert file.load() is None
        assert [one.name for one in file.quarantined] == [f"state.json.corrupt-{n}"]
        assert file.quarantined[0].read_bytes() == data
        assert not path.exists()


def test_one_flipped_bit_is_seen(path: Path) -> None:
    StateFile(path, Value).save(Value(12345))
    path.write_bytes(path.read_bytes().replace(b"12345", b"12344"))
    file = StateFile(path, Value)
    assert file.load() is None and file.quarantined


def test_a_newer_schema_is_rejected_and_left_alone(path: Path) -> None:
    StateFile(path, Value, schema=2).save(Value(1))
    before = path.read_bytes()
    with pytest.raises(Rejected, match="schema 2, newer"):
        StateFile(path, Value).load()
    assert StateFile(path, Value).peek() is None and StateFile(path, Value, schema=2).peek() == Value(1)
    assert path.read_bytes() == before


def test_an_older_schema_is_upgraded_step_by_step_or_rejected(path: Path) -> None:
    StateFile(path, dict[str, int]).save({"m": 5})
    upgrades = {1: lambda old: {"n": old["m"]}, 2: lambda old: {**old, "text": "up"}}
    assert StateFile(path, Value, schema=3, upgrades=upgrades).load() == Value(5, "up")
    with pytest.raises(Rejected, match="cannot be upgraded"):
        StateFile(path, Value, schema=3).load()


def test_a_disk_that_fails_is_retryable_and_the_old_value_stands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(path, Value)
    file.save(Value(1))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state.os, "write", full)
        with pytest.raises(Retryable, match="No space left"):
            file.save(Value(2))
    assert StateFile(path, Value).load() == Value(1) and file.generation == 1


@pytest.mark.parametrize("write", [write_durably, create_durably])
def test_a_file_has_the_mode_that_was_asked_for_whatever_the_umask(tmp_path: Path, write: Any) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "file", b"content", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_new_file_takes_no_name_that_is_taken_and_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    create_durably(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        create_durably(tmp_path / "file", b"second")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        create_durably(tmp_path / "link", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "link"]
