"""A build of the NUC image that fails, or is killed, says so in a line, and keeps no other from being made."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from images.nuc import build


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder."""
    monkeypatch.setenv("GALLEY_CACHE", str(tmp_path))
    return tmp_path / "nuc"


def test_where_the_disk_is_full_that_is_said_and_the_half_goes(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(tree: Path) -> None:
        (tree / "usr").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device", str(tree / "usr/big"))

    monkeypatch.setattr(build.root, "make_base", lambda tree, debs: full(tree))
    monkeypatch.setattr(build, "toolbox", lambda: place)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.argv", ["build.py"])
    assert build.main() == 1
    assert "make image: [Errno 28] No space left on device" in capsys.readouterr().err
    assert [one.name for one in place.iterdir()] == ["lock"]


def test_what_a_killed_build_left_is_no_part_of_the_next(place: Path) -> None:
    (place / "base.new/half").mkdir(parents=True)

    def maker(tree: Path) -> None:
        tree.mkdir()
        (tree / "whole").write_text("")

    made = build.kept("base", ["x"], maker)
    assert [one.name for one in made.iterdir()] == ["whole"]
    assert build.kept("base", ["x"], maker) == made
