"""`vessel lint` of a folder that is not the Atlas, but holds one: it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from vessel.cli_lint import WRONG, hints, main


def atlas(folder: Path) -> Path:
    (folder / "apps/web").mkdir(parents=True)
    (folder / "apps/web/app.yaml").write_text("v: 1\nowner: me\nnamespace: web\nstage: 10\n")
    return folder


def test_one_folder_too_high(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meant = atlas(tmp_path / "atlas")
    assert main([str(tmp_path)]) == WRONG
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "atlas/apps/web/app.yaml:1: apiVersion: is required"
    assert said[-1] == f"there is an apps/ in atlas/: is {meant} the Atlas?"


def test_each_that_may_be_meant_is_named(tmp_path: Path) -> None:
    both = [atlas(tmp_path / "fleet" / name) for name in ("a", "b")]
    atlas(tmp_path / "fleet/.cache")
    (tmp_path / "fleet/docs").mkdir()
    found = hints(tmp_path, "fleet")
    assert found == [f"there is an apps/ in {one.name}/: is {one} the Atlas?" for one in both]


def test_an_atlas_gets_no_hint(tmp_path: Path) -> None:
    atlas(tmp_path)
    atlas(tmp_path / "old")
    assert hints(tmp_path, ".") == []
    assert hints(tmp_path, "nowhere") == []
