"""The whole suite at once: a restaurant's daemons as processes, a real API server, Git, broker and endpoint."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site_in_a_box.kill_loop import kill_loop
from tests.site_in_a_box.restaurant import RestaurantPlan
from tests.site_in_a_box.town import Town

KILLS = 24


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a Unix socket's path has 107 bytes at most, and pytest's own folders are long."""
    with tempfile.TemporaryDirectory(prefix="galley-town-") as name:
        yield Path(name)


@pytest.mark.timeout(600)
async def test_kill_9_of_any_daemon_at_any_moment_loses_nothing_and_leaves_no_orphan(folder: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    async with Town.open(folder, [RestaurantPlan("store-00001", nodes=2)], interval=1.0) as town:
        one = town.restaurants[0]
        await town.wait_beats(one)
        await town.wait_healthy(one)
        account = await kill_loop(town, one, KILLS, random.Random(seed))
    assert account.messages > 100
