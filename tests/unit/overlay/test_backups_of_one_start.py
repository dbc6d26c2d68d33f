"""What one start saves, it is about to remove: none of its own backups goes for another's room."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.errors import Rejected
from edge_commander.overlay.backups import Backups, Note


def test_the_bound_is_kept_by_older_ones_and_then_by_refusing(tmp_path: Path) -> None:
    top = tmp_path / "upper"
    top.mkdir()
    backups = Backups(tmp_path / "keep", most=3)

    def save(name: str, number: int) -> str:
        (top / name).write_text(f"mine {name}")
        return backups.add(top, name, number=number, note=Note(path=name, why="newer"))

    old = [save(f"old-{n}", 1) for n in range(3)]
    new = [save(f"new-{n}", 2) for n in range(3)]
    assert set(backups.files()) == set(new) and not set(old) & set(new)
    with pytest.raises(Rejected, match="this start's backups fill"):
        save("one-more", 2)
    assert set(backups.files()) == set(new)
    assert {one.name for one in (tmp_path / "keep").iterdir()} == set(new), "nothing half is left"
