"""An image in the cache is taken for what is wanted only where all that goes into one is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from images.nuc import build, cluster
from tests.site_in_a_box import host_tree


def _command(root: Path) -> None:
    file = root / "pyproject.toml"
    file.write_text(file.read_text().replace("[project.scripts]", '[project.scripts]\nother = "vessel.__main__:main"'))


def _text(root: Path) -> None:
    (root / "systemd/galley-vessel.service").write_text("[Service]\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a command of the suite": _command,
    "a unit": _text,
    "a program that is none any more": lambda root: (root / "images/nuc/files/early").chmod(0o644),
    "how a command is made": lambda root: (root / "host_tree.py").write_text("SCRIPT = 2\n"),
    "a page of the documentation": lambda root: (root / "docs/image.md").write_text("other\n"),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one file a kind."""
    for name in ("images/nuc/files/early", "systemd/galley-vessel.service", "vessel/loop.py", "docs/image.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one\n")
    (tmp_path / "images/nuc/files/early").chmod(0o755)
    (tmp_path / "host_tree.py").write_text("SCRIPT = 1\n")
    shutil.copy(host_tree.ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path / "images/nuc")
    monkeypatch.setattr(host_tree, "ROOT", tmp_path)
    monkeypatch.setattr(host_tree, "__file__", str(tmp_path / "host_tree.py"))
    return tmp_path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_goes_into_an_image_names_it(root: Path, change: Callable[[Path], object]) -> None:
    def key() -> str:
        return build._key(Path("base-1"), 1, "1.0", cluster.NONE)

    before = key()
    assert key() == before
    change(root)
    assert key() != before
