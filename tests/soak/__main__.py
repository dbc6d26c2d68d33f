"""`make soak`: what takes longer than the tests may. Prints a report in Markdown; docs/soak.md keeps the last one.

python -m tests.soak [--parts daemons etcd full machines updates image] [--kills 200] [--rest 600] [--etcd 100]
[--full 5] [--lives 40] [--updates 10] [--seed N]

`daemons`: kills, then a rest watched for growth. `etcd`: sites that form with real etcd alone; `full`: with the whole
control plane, on three hosts. Under QEMU: `machines`, a NUC whose power is cut amid a wipe and its boots, and `updates`
of the image. `image`: the image built again elsewhere, all its packages anew. A run with the same seed deals the same
blows.
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
from collections.abc import Iterator
from pathlib import Path

from images.nuc import build
from tests.site_in_a_box.image_elsewhere import build_elsewhere, differing
from tests.site_in_a_box.kill_loop import kill_loop
from tests.site_in_a_box.restaurant import RestaurantPlan
from tests.site_in_a_box.town import Town
from tests.soak.formations import etcd_formations, full_formations
from tests.soak.machines import machine_lives
from tests.soak.updates import image_updates

PARTS = ("daemons", "etcd", "full", "machines", "updates", "image")


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


def image_elsewhere(folder: Path) -> str:
    """A second build of the image, with nothing shared but the downloads: the same bytes."""
    began = time.monotonic()
    image = build.ensure()
    different = differing(image.folder, build_elsewhere(image, folder, whole=True))
    assert not different, f"not the same bytes: {', '.join(different)}"
    spent = time.monotonic() - began
    return f"| the image twice, in two folders, under two host names and clocks | the same bytes, {spent:.0f} s |"


def main() -> int:
    """Runs it; 0 when all of it held. What was measured until something failed is printed as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rest", type=float, default=600.0, help="seconds to watch memory and descriptors")
    parser.add_argument("--etcd", type=int, default=100, help="formations with real etcd alone")
    parser.add_argument("--at-a-time", type=int, default=4, help="how many of these at once")
    parser.add_argument("--full", type=int, default=5, help="formations with the full control plane")
    parser.add_argument("--lives", type=int, default=40, help="lives of a NUC under QEMU from an armed wipe on")
    parser.add_argument("--updates", type=int, default=10, help="updates of the image, each amid cuts of power")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="galley-soak-"))
    folder.chmod(0o755)  # users in hosts look for their files below it
    lines = ["| what | result |", "|---|---|"]
    try:
        for line in rows(folder, options):
            lines.append(line)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
        print("\n".join(lines))
    return 0


def rows(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """The report's rows, part by part."""
    if "daemons" in options.parts:
        yield from asyncio.run(soak(folder, options.kills, options.rest, options.seed))
    if "etcd" in options.parts:
        yield from etcd_formations(folder / "etcd", options.etcd, options.seed, options.at_a_time)
    if "full" in options.parts:
        yield from full_formations(folder / "full", options.full, options.seed)
    if "machines" in options.parts:
        yield from machine_lives(folder / "machines", options.lives, options.seed)
    if "updates" in options.parts:
        yield from image_updates(folder / "updates", options.updates, options.seed)
    if "image" in options.parts:
        yield image_elsewhere(folder / "image")


if __name__ == "__main__":
    sys.exit(main())
