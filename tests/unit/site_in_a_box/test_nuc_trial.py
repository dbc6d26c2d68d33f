"""What `make image-run` refuses before it makes anything, and what it starts from."""

from __future__ import annotations

import socket
import struct
import zlib
from pathlib import Path

import pytest

from tests.site_in_a_box.nuc_run import STEERS, expected, main, parsed
from tests.site_in_a_box.nuc_trial import BadTrial, alone, check_kvm, check_port, forwards, judge

GIB = 2**30


def table(disk: Path, label: str) -> None:
    """A disk of 8 GiB with one partition."""
    entry = struct.pack("<16s16sQQQ72s", b"t" * 16, b"u" * 16, 2048, 4095, 0, label.encode("utf-16-le"))
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 0, 34, 9999, b"d" * 16, 2, 1, 128, zlib.crc32(entry)
    )
    head = head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]
    with disk.open("wb") as file:
        file.write(b"\0" * 510 + b"\x55\xaa" + head.ljust(512, b"\0") + entry)
        file.truncate(8 * GIB)


def sparse(disk: Path, size: int, start: bytes = b"") -> Path:
    with disk.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return disk


def test_a_disk_that_is_missing_is_made_and_is_blank(tmp_path: Path) -> None:
    trial = judge(tmp_path, tmp_path / "nuc.raw")
    assert (trial.missing, trial.blank, trial.stick) == (True, True, tmp_path)
    assert trial.folder == tmp_path / "nuc.raw.nuc"
    assert not (tmp_path / "nuc.raw").exists()
    assert "starts from the stick" in expected(trial, kvm=False) and "minutes" in expected(trial, kvm=False)


def test_the_second_start_is_from_the_disk(tmp_path: Path) -> None:
    table(tmp_path / "nuc.raw", "ident")
    trial = judge(tmp_path, tmp_path / "nuc.raw")
    assert (trial.missing, trial.blank) == (False, False)
    assert "the stick stays out" in expected(trial, kvm=True)


def test_an_installation_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    trial = judge(None, sparse(tmp_path / "nuc.raw", 8 * GIB, b"\0" * 512 + b"half a table"))
    assert (trial.missing, trial.blank, trial.stick) == (False, True, None)


def test_a_disk_that_is_no_node_s_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "windows.raw", "Basic data partition")
    wrong = {
        tmp_path / "windows.raw": "no node's",
        sparse(tmp_path / "text.raw", 8 * GIB, b"x" * 600): "no node's",
        sparse(tmp_path / "little.raw", GIB): "smaller than 6 GiB",
        tmp_path: "a file is wanted",
        tmp_path / "not there" / "nuc.raw": "there is no folder",
        tmp_path / "a,b.raw": "no comma",
    }
    for disk, says in wrong.items():
        with pytest.raises(BadTrial, match=says):
            judge(None, disk)


def test_a_stick_that_is_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadTrial, match="a folder is wanted"):
        judge(tmp_path / "file", tmp_path / "nuc.raw")
    command = ["make image-run", "--stick", str(tmp_path / "none"), "--disk", str(tmp_path / "nuc.raw")]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 1
    assert capsys.readouterr().err == f"make image-run: STICK={tmp_path}/none: no such folder\n"
    assert not (tmp_path / "nuc.raw").exists()


def test_two_machines_of_one_disk_are_refused(tmp_path: Path) -> None:
    trial = judge(None, tmp_path / "nuc.raw")
    with alone(trial), pytest.raises(BadTrial, match="a machine runs from it"), alone(trial):
        pass
    with alone(trial):
        assert trial.folder.is_dir()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadTrial, match="PORT= names another"):
            check_port(taken.getsockname()[1])
    with pytest.raises(BadTrial, match="PORT="):
        check_port(70000)


def test_kvm_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadTrial, match="without KVM=1"):
        check_kvm(tmp_path / "kvm")


def test_forwards_are_pairs_of_ports() -> None:
    assert forwards(parsed(["--forward", "8443:40001", "--forward", "80:8080"]).forward) == {8443: 40001, 80: 8080}
    for wrong in ("8443", "a:b", "1:2:3", "0:80", "80:70000"):
        with pytest.raises(BadTrial, match="PORT:PORT"):
            forwards([wrong])


def test_a_machine_s_console_does_not_steer_the_terminal() -> None:
    assert STEERS.sub("", "\x1b[2J\x1b[01;01Hone\r\n\x1b[0;32m  OK  \x1b[0m\x07\x9b2J █") == "one\n  OK  2J █"
