"""Memory of a node at rest: the PSS of each daemon with all daemons of one node running, beside its limit.

python -m tests.benchmarks.bench_node [--rest 60]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

from tests.site_in_a_box.restaurant import RestaurantPlan
from tests.site_in_a_box.town import Town

LIMITS = {"vessel": 64.0, "synthetic-client": 52.0, "edge-commander": 52.0, "heartbeat": 42.0}
"""MB, 10^6 bytes."""


async def measure(rest: float) -> dict[str, float]:
    """PSS in MB of each daemon of the node whose Vessel holds the Lease, `rest` s after its Atlas became healthy."""
    folder = Path(tempfile.mkdtemp(prefix="galley-bench-"))
    try:
        async with Town.open(folder, [RestaurantPlan("store-00001", nodes=1)], interval=2.0) as town:
            one = town.restaurants[0]
            await town.wait_beats(one)
            await town.wait_healthy(one)
            await town.wait_synthetic(one)
            await asyncio.sleep(rest)
            return one.nodes[0].memory()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest before the look")
    figures = asyncio.run(measure(parser.parse_args().rest))
    print("| daemon | PSS, MB | limit, MB |")
    print("|---|---|---|")
    for name, limit in LIMITS.items():
        print(f"| {name} | {figures[name]:.1f} | {limit:.0f} |")
    print(f"| one node | {sum(figures.values()):.1f} | {sum(LIMITS.values()):.0f} |")


if __name__ == "__main__":
    main()
