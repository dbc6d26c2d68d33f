"""Operators' key files appear with the registration, or not at all; a retry registers the same keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from cloud_endpoint import keyfile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_when_the_keys_are_registered(tmp_path: Path) -> None:
    with keyfile.drafts(keyfile.wanted(tmp_path / "a.json", tmp_path / "b.json")) as keys:
        assert names(tmp_path) == ["a.json.new", "b.json.new"]
    assert names(tmp_path) == ["a.json", "b.json"]
    assert keyfile.load(tmp_path / "a.json").public == keys[0].public
    assert keyfile.load(tmp_path / "b.json").public["crv"] == "Ed25519"


def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="scopes"), keyfile.drafts(keyfile.wanted(tmp_path / "a.json", None)):
        raise Rejected("unknown scopes")
    assert names(tmp_path) == []


def test_after_an_answer_that_was_lost_the_same_key_is_registered(tmp_path: Path) -> None:
    wanted = keyfile.wanted(tmp_path / "a.json", None)
    seen = []
    for _ in range(2):
        with pytest.raises(Retryable), keyfile.drafts(wanted) as keys:
            seen.append(keys[0].public)
            raise Retryable("no answer in time")
    with keyfile.drafts(wanted) as keys:
        seen.append(keys[0].public)
    assert seen[0] == seen[1] == seen[2] and names(tmp_path) == ["a.json"]


def test_a_file_that_exists_is_never_touched(tmp_path: Path) -> None:
    keyfile.create(tmp_path / "b.json", SoftwareKey.generate())
    before = (tmp_path / "b.json").read_bytes()
    with (
        pytest.raises(Rejected, match=r"b\.json: exists already"),
        keyfile.drafts(keyfile.wanted(tmp_path / "a.json", tmp_path / "b.json")),
    ):
        pytest.fail("nothing may be registered")
    assert names(tmp_path) == ["b.json"] and (tmp_path / "b.json").read_bytes() == before
