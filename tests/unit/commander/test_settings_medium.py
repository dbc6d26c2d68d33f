"""A stick may hold anything: what is taken from it is bounded, and what cannot be taken is named."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_commander.machine_settings import medium


def _write(folder: Path, **files: bytes) -> None:
    (folder / "galley").mkdir(exist_ok=True)
    (folder / "galley.yaml").write_bytes(b"v: 1\n")
    for name, data in files.items():
        (folder / "galley" / name).write_bytes(data)


def test_a_medium_without_galley_yaml_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "galley").mkdir()
    (tmp_path / "galley" / "ca.pem").write_bytes(b"x")
    assert medium.read(tmp_path) == ({}, [])


def test_the_main_file_and_its_folder_are_read(tmp_path: Path) -> None:
    _write(tmp_path, code=b"abc")
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    assert medium.read(tmp_path) == ({"galley.yaml": b"v: 1\n", "code": b"abc"}, [])


def test_links_folders_strange_names_and_long_files_are_named_and_not_taken(tmp_path: Path) -> None:
    _write(tmp_path, long=bytes(medium.MAX_BYTES + 1))
    (tmp_path / "galley" / "link").symlink_to("/etc/shadow")
    (tmp_path / "galley" / "folder").mkdir()
    (tmp_path / "galley" / "a b\n").write_bytes(b"x")
    (tmp_path / "galley" / "galley.yaml").write_bytes(b"x")
    found, problems = medium.read(tmp_path)
    assert set(found) == {"galley.yaml"}
    assert len(problems) == 5
    assert not [problem for problem in problems if "\n" in problem]


def test_a_main_file_that_no_daemon_could_bear_to_read_is_said_and_not_taken(tmp_path: Path) -> None:
    _write(tmp_path, code=b"abc")
    (tmp_path / "galley.yaml").write_bytes(b"v: 1\n" + b"#" * medium.MAX_MAIN)
    assert medium.read(tmp_path) == ({"code": b"abc"}, ["galley.yaml: is longer than 131072 bytes"])


def test_a_main_file_that_is_a_link_is_none(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "galley.yaml").unlink()
    (tmp_path / "galley.yaml").symlink_to("/etc/passwd")
    assert medium.read(tmp_path) == ({}, [])


def test_too_many_files_are_none(tmp_path: Path) -> None:
    _write(tmp_path, **{f"f{number}": b"x" for number in range(medium.MAX_FILES + 1)})
    assert medium.read(tmp_path)[0] == {}


def test_hidden_files_that_a_computer_left_there_are_nobody_s(tmp_path: Path) -> None:
    _write(tmp_path, **{"ca.pem": b"x", "._ca.pem": b"\0", ".DS_Store": b"\0"})
    assert medium.read(tmp_path) == ({"galley.yaml": b"v: 1\n", "ca.pem": b"x"}, [])


@pytest.mark.parametrize("name", ["proxy.env", "PROXY.ENV", "galley.d", "Galley.yaml"])
def test_what_the_node_makes_itself_is_no_file_of_a_medium(tmp_path: Path, name: str) -> None:
    """It would be written over or removed again at each start, and so never be in force."""
    _write(tmp_path, **{name: b"x"})
    found, problems = medium.read(tmp_path)
    assert set(found) == {"galley.yaml"}
    assert problems == [f"galley/{name}: is the name of what the node makes itself in /etc/galley"]


def test_what_differs_by_capitals_alone_is_not_taken(tmp_path: Path) -> None:
    """An ext4 stick has both, the esp (FAT) one of them: after the next start one had the other's content."""
    _write(tmp_path, **{"ca.pem": b"x", "CA.pem": b"y"})
    assert medium.read(tmp_path)[1] == ["galley/ca.pem: is named as galley/CA.pem but for capitals"]


def test_of_a_folder_of_millions_no_more_names_are_held_than_show_that_they_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, **{f"f{number:03}": b"" for number in range(200)})
    seen, real = [], os.scandir

    class Watched:
        def __init__(self, path: Path) -> None:
            self._inside = real(path)

        def __enter__(self) -> Watched:
            return self

        def __exit__(self, *_: object) -> None:
            self._inside.close()

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            for one in self._inside:
                seen.append(one.name)
                yield one

    monkeypatch.setattr(os, "scandir", Watched)
    assert medium.read(tmp_path) == ({}, ["galley: has more than 32 entries"])
    assert len(seen) == medium.MAX_FILES + 1


@pytest.mark.parametrize(("where", "call"), [(Path, "lstat"), (os, "scandir")])
def test_a_stick_that_was_pulled_out_is_said_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, call: str
) -> None:
    _write(tmp_path, code=b"abc")

    def gone(self: Path, *_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    monkeypatch.setattr(where, call, gone)
    assert medium.read(tmp_path) == ({}, ["cannot be read: Input/output error"])
