"""Puts this folder's helpers on the path."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from k3s_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
