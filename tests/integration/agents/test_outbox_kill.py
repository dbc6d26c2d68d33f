"""kill -9 of an outbox, at every point and at random ones: every message is accounted for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLER = Path(__file__).with_name("outbox_killer.py")
ROOT = Path(__file__).parents[3]


def killer(*arguments: object) -> int:
    done = subprocess.run(
        [sys.executable, str(KILLER), *map(str, arguments)],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


def test_killed_at_every_point_nothing_is_lost(tmp_path: Path) -> None:
    points = killer("walk", tmp_path / "box")
    assert points > 400, "the walk did not reach what it is to kill"


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_points_again_and_again_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    kills = killer("wander", tmp_path / "box", seed, 150)
    assert kills > 50
