"""Updates of the image in a machine that boots, with the power cut at random moments: it always comes back, and each
update ends once, in the new image or (where three cuts fell into its trial) in the old one. Needs root.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from images.nuc import build
from tests.site_in_a_box import nuc_release
from tests.site_in_a_box.nuc import Nuc
from tests.site_in_a_box.nuc_updates import LONG, UpdateShop, running

LONGEST_SECONDS = 150.0
"""The latest moment after a start at which the power goes: about as long as an update takes."""
CUTS = 3


def image_updates(folder: Path, count: int, seed: int) -> Iterator[str]:
    """The report's row. Raises AssertionError where a machine or an update does not come to its end."""
    rng = random.Random(seed)
    cuts, ends, began = 0, {"image-updated": 0, "image-update-failed": 0}, time.monotonic()
    with UpdateShop(build.ensure(), folder) as shop:
        machine = shop.installed("GALLEY-NUC-SOAK")
        try:
            machine.boot(LONG)
            version = shop.built.version
            for number in range(1, count + 1):
                new = f"9.{number}.0"
                code, made = _update(shop, machine, new, rng)
                cuts += made
                ends[code] += 1
                assert code == "image-updated" or made >= CUTS, f"{new}: {made} cuts, and it was left"
                version = new if code == "image-updated" else version
                assert running(machine)[1] == version
                told = {name: times for name, (_, times) in shop.ends(machine).items()}
                assert told == {name: times for name, times in ends.items() if times}, told
        finally:
            machine.cut_power()
    spent = time.monotonic() - began
    yield (
        f"| {count} updates of the image, {cuts} cuts of power at random moments, in {spent:.0f} s, seed {seed} "
        f"| {ends['image-updated']} in the new image, {ends['image-update-failed']} in the old one, each told once |"
    )


def _update(shop: UpdateShop, machine: Nuc, version: str, rng: random.Random) -> tuple[str, int]:
    nuc_release.good(shop.built, shop.releases / version, version)
    shop.sign(version)
    shop.order(machine, version)
    cuts = rng.randint(1, CUTS)
    for _ in range(cuts):
        _alive(machine, rng.uniform(0, LONGEST_SECONDS))
        machine.cut_power()
        machine.start()
    while not (code := shop.end_of(machine, version)):
        _alive(machine, 1)
    machine.wait_shell(LONG)
    return code[0], cuts


def _alive(machine: Nuc, seconds: float) -> None:
    """Lets it live on for so long; where it reboots by itself, it is started again."""
    end = time.monotonic() + seconds
    while True:
        assert machine.program is not None
        if not machine.program.running:
            machine.cut_power()
            machine.start()
        if time.monotonic() >= end:
            return
        time.sleep(0.2)
