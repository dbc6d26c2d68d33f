"""kill -9 of an outbox, at every point and at random ones: every message is accounted for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill leaves the same files there, and fsync costs nothing."""
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    yield where / "box"
    shutil.rmtree(where, ignore_errors=True)


@pytest.mark.parametrize(("start", "least"), [("empty", 200), ("filled", 200), ("corrupt", 80)])
def test_killed_at_every_point_nothing_is_lost(box: Path, start: str, least: int) -> None:
    assert killer("walk", box, start) >= least, "the walk did not reach what it is to kill"


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_points_again_and_again_nothing_is_lost(box: Path, seed: int) -> None:
    kills = killer("wander", box, seed, 150)
    assert kills > 50
