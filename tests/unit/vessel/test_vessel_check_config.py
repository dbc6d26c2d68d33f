"""What --check-config says of `vessel:`, at once and without a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vessel.__main__ import main


def refused(folder: Path, capsys: pytest.CaptureFixture[str], **vessel: Any) -> str:
    """What is said on stderr, with 78."""
    file = folder / "galley.yaml"
    file.write_text(yaml.safe_dump({"v": 1, "vessel": vessel}))
    assert main(["--check-config", "--config", str(file)]) == 78
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("atlas", "expected"),
    [
        ({"url": "ssh://x/y"}, ["vessel.atlas: ", "'ssh://x/...'", "https://", "file:///", "http://127.0.0.1"]),
        ({"url": "http://git.example/a.git"}, ["vessel.atlas: ", "plain http is refused off loopback"]),
        ({"url": "https://[x/y"}, ["vessel.atlas: the Atlas' address is none"]),
        ({"url": "https://git..example/a.git"}, ["vessel.atlas: ", "is no address"]),
        ({"url": "file:///a.git", "branch": "a..b"}, ["vessel.atlas: 'a..b' is not a branch's name"]),
        ({"url": "https://x/y", "credential": "endpoint"}, ["vessel.atlas.credential: `endpoint` needs the section"]),
        ({"url": "https://x/y", "credential": "file:NONE"}, ["vessel.atlas.credential: ", "No such file"]),
        ({"url": "https://x/y", "credential": "file:EMPTY"}, ["vessel.atlas.credential: ", "empty is empty"]),
    ],
)
def test_a_wrong_atlas_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], atlas: dict[str, str], expected: list[str]
) -> None:
    (tmp_path / "empty").write_text("\n")
    for word in ("NONE", "EMPTY"):
        if "credential" in atlas:
            atlas = {**atlas, "credential": atlas["credential"].replace(word, str(tmp_path / word.lower()))}
    said = refused(tmp_path, capsys, atlas=atlas)
    assert all(word in said for word in expected), said


def test_an_atlas_must_come_from_somewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "vessel.atlas: is required" in refused(tmp_path, capsys)


def test_a_good_one_passes_and_no_credential_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "login").write_text("me:s3cret-password\n")
    atlas = {"url": "https://git.example/a.git", "credential": f"file:{tmp_path / 'login'}"}
    file = tmp_path / "galley.yaml"
    file.write_text(yaml.safe_dump({"v": 1, "vessel": {"atlas": atlas}}))
    assert main(["--check-config", "--config", str(file)]) == 0
    told = capsys.readouterr()
    assert "good" in told.out and "s3cret" not in told.out + told.err
