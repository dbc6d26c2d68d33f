"""`make soak`: what takes longer than the tests may. Prints a report in Markdown; docs/soak.md keeps the last one.

python -m tests.soak [--kills 200] [--rest 600]
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.site_in_a_box.kill_loop import kill_loop
from tests.site_in_a_box.restaurant import RestaurantPlan
from tests.site_in_a_box.town import Town


async def soak(folder: Path, kills: int, rest: float, seed: int) -> list[str]:
    """The loop of kills, then a rest in which the daemons' memory and descriptors must stand still."""
    lines = []
    async with Town.open(folder, [RestaurantPlan("store-00001")], interval=1.0) as town:
        one = town.restaurants[0]
        await town.wait_beats(one)
        await town.wait_healthy(one)
        began = time.monotonic()
        account = await kill_loop(town, one, kills, random.Random(seed))
        spent = time.monotonic() - began
        lines.append(
            f"| {account.kills} kills of random daemons in {spent:.0f} s, seed {seed} "
            f"| {account.messages} messages numbered, none missing; no orphan |"
        )
        await asyncio.sleep(60)
        node = one.nodes[0]
        before = {name: (node.memory()[name], descriptors(program.pid)) for name, program in node.daemons.items()}
        await asyncio.sleep(rest)
        for name, program in node.daemons.items():
            memory, files = before[name]
            grown = node.memory()[name] - memory
            more = descriptors(program.pid) - files
            lines.append(f"| {name}, {rest:.0f} s at an interval of 1 s | {grown:+.1f} MB, {more:+d} descriptors |")
            assert grown < 5 and more < 8, f"{name} grows: {grown:+.1f} MB, {more:+d} descriptors"
    return lines


def descriptors(pid: int) -> int:
    """Open file descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> int:
    """Runs it; 0 when all of it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rest", type=float, default=600.0, help="seconds to watch memory and descriptors")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="galley-soak-"))
    try:
        lines = asyncio.run(soak(folder, options.kills, options.rest, options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    print("\n".join(["| what | result |", "|---|---|", *lines]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
