"""Puts this folder's helpers on the path."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from k3s_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here for real, and a busy disk takes longer for it than all the rest. That a file is synced is
    tested with StateFile, whose write_durably is used here too."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
