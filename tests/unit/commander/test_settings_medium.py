"""A stick may hold anything: what is taken from it is bounded, and what cannot be taken is named."""

from __future__ import annotations

from pathlib import Path

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


def test_a_main_file_that_is_a_link_is_none(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "galley.yaml").unlink()
    (tmp_path / "galley.yaml").symlink_to("/etc/passwd")
    assert medium.read(tmp_path) == ({}, [])


def test_too_many_files_are_none(tmp_path: Path) -> None:
    _write(tmp_path, **{f"f{number}": b"x" for number in range(medium.MAX_FILES + 1)})
    assert medium.read(tmp_path)[0] == {}
