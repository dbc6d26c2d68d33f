"""`galley release sign`: what it signs is what lies in the folder, and is what the image calls itself."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pytest

from agents.core.errors import Rejected
from agents.core.operators import plain_operators
from agents.core.releases import verify_release
from cloud_endpoint.cli import releases
from tests.fakes import trust_kit

FILES = {
    "root.img": b"a root",
    "kernel-a.efi": b"MZ\0NAME=x\nIMAGE_VERSION=1.4.0\n\0",
    "kernel-b.efi": b"MZ\nIMAGE_VERSION='1.4.0'\n\0",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "key.json").write_text(json.dumps(trust_kit.ALICE.private()))
    (tmp_path / "key.json").chmod(0o600)
    return tmp_path


def options(folder: Path, version: str) -> argparse.Namespace:
    return argparse.Namespace(folder=str(folder), version=version, key=folder / "key.json")


async def test_nodes_that_know_the_operator_believe_it(folder: Path) -> None:
    said = await releases.sign(None, options(folder, "1.4.0"))
    data = (folder / "release.json").read_bytes()
    assert said["sha256"] == hashlib.sha256(data).hexdigest()
    release = verify_release(data, plain_operators([trust_kit.ALICE.public]), "1.4.0")
    assert {name: (one.sha256, one.size) for name, one in {**release.files("a"), **release.files("b")}.items()} == {
        name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in FILES.items()
    }


@pytest.mark.parametrize(
    ("version", "words"), [("1.5.0", "calls itself 1.4.0, not 1.5.0"), ("new", "numbers and dots")]
)
async def test_another_version_than_the_image_has_is_no_release(folder: Path, version: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        await releases.sign(None, options(folder, version))
    assert not (folder / "release.json").exists()


async def test_the_remedy_for_another_version_is_said(folder: Path) -> None:
    with pytest.raises(Rejected, match=r"`make image VERSION=1\.5\.0`\), or sign it as --version 1\.4\.0$"):
        await releases.sign(None, options(folder, "1.5.0"))
    (folder / "kernel-a.efi").write_bytes(b"MZ says nothing")
    with pytest.raises(Rejected, match=r"`make image VERSION=1\.4\.0`\)$"):
        await releases.sign(None, options(folder, "1.4.0"))


async def test_an_image_that_says_no_version_is_no_release(folder: Path) -> None:
    """Each node that ran it would tell that it did not start."""
    (folder / "kernel-b.efi").write_bytes(b"MZ says nothing")
    with pytest.raises(Rejected, match="says no IMAGE_VERSION"):
        await releases.sign(None, options(folder, "1.4.0"))


async def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "kernel-b.efi").unlink()
    with pytest.raises(Rejected, match=r"kernel-b\.efi"):
        await releases.sign(None, options(folder, "1.4.0"))
