"""`make image ARGS=--accept` writes down what that very build found, whoever builds beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from images.nuc import build, manifest


def _found(version: str) -> dict[str, manifest.Package]:
    return {"bash": {"version": version, "sha256": "aa", "architecture": "amd64"}}


def test_what_another_build_found_meanwhile_is_not_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is one for all checkouts; another build compares while this one is still at work."""
    (tmp_path / "nuc/image-key").mkdir(parents=True)
    (tmp_path / "nuc/image-key/sizes.json").write_text("{}")
    accepted = tmp_path / "manifest.json"

    def key(*_: object) -> str:
        manifest.write({"root": _found("2"), "toolbox": _found("2")}, tmp_path / "nuc/manifest.json")
        return "key"

    monkeypatch.setenv("GALLEY_CACHE", str(tmp_path))
    monkeypatch.setattr(manifest, "FILE", accepted)
    monkeypatch.setattr(manifest, "of", lambda *_: _found("1"))
    monkeypatch.setattr(manifest, "read", lambda file=accepted: json.loads(file.read_text()) if file.exists() else {})
    monkeypatch.setattr(manifest.write, "__defaults__", (accepted,))
    monkeypatch.setattr(build, "_key", key)
    for name in ("toolbox", "base"):
        monkeypatch.setattr(build, name, lambda: tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.argv", ["build.py", "--accept"])
    assert build.main() == 0
    assert json.loads(accepted.read_text()) == {"root": _found("1"), "toolbox": _found("1")}
