"""A NUC under QEMU with an armed wipe, whose power is cut at random moments, life after life from the same disk."""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from images.nuc import build as nuc
from tests.site_in_a_box.nuc_life import KEYS, Life
from tests.site_in_a_box.nuc_moments import after, cut
from tests.site_in_a_box.nuc_shop import SITE, Shop

MOST_CUTS = 3
PARTS = ("disk", "m/vars.fd", "m/tpm")
"""Of a machine's folder: all that lasts over a power cut."""


def machine_lives(folder: Path, count: int, seed: int) -> Iterator[str]:
    """`count` lives of a machine with a TPM (odd ones) or without; a row of the report."""
    folder.mkdir(parents=True)
    shop = Shop(nuc.ensure(), folder)
    try:
        for tpm in (False, True):
            many = count // 2 + (count % 2 if tpm else 0)
            if many:
                yield _lives(shop, folder, many, random.Random(f"{seed}-{tpm}"), tpm=tpm)
    finally:
        shop.endpoint.stop()


def _lives(shop: Shop, folder: Path, count: int, rng: random.Random, *, tpm: bool) -> str:
    began = time.monotonic()
    life = Life(shop, shop.ship(f"GALLEY-SOAK-{tpm:d}", tpm=tpm, gib=6), SITE)
    place, kept = folder / life.machine.serial, folder / "armed"
    try:
        life.machine.boot(900)
        life.wait_enrolled()
        life.wait_units()
        life.leave_things()
        life.order_wipe(folder / f"wipe-{tpm:d}.json")
        life.machine.wait_off(900)
        life.take_stick_out()
        _copy(place, kept)
        before = life.kept()
        whole = _undisturbed(life)
        cuts = []
        for number in range(count):
            life.machine.cut_power()
            _copy(kept, place)
            moments = [rng.uniform(0, whole * 1.1) for _ in range(rng.randint(1, MOST_CUTS))]
            for moment in moments:
                cut(life.machine, after(moment), moment + 60)
                assert life.erased() or life.kept() == before, moments
            _undisturbed(life)
            cuts += moments
            print(f"life {number + 1}: back after cuts at {', '.join(f'{one:.1f}' for one in moments)} s", flush=True)
    finally:
        life.machine.cut_power()
        shutil.rmtree(kept, ignore_errors=True)
    kind = "with" if tpm else "without"
    return (
        f"| a NUC under QEMU {kind} a TPM, {count} lives from an armed wipe on, power cut {len(cuts)} times between "
        f"0 and {max(cuts):.0f} s after it came (median {statistics.median(cuts):.0f} s), in "
        f"{time.monotonic() - began:.0f} s | each came back as from the factory, keys and `keep` as before |"
    )


def _undisturbed(life: Life) -> float:
    """A start that nobody ends: back, and nothing of the old is left; s until every unit was up."""
    began = time.monotonic()
    life.machine.boot(900)
    life.wait_units()  # the shell answers before anything is erased or mounted
    took = time.monotonic() - began
    assert life.erased(), life.record
    assert life.secrets_left() == {"conf": 0, "var": 0}
    assert life.machine.run(KEYS) == life.keys
    return took


def _copy(source: Path, target: Path) -> None:
    """Sparse; what is there goes."""
    for part in PARTS:
        if not (source / part).exists():
            continue
        shutil.rmtree(target / part, ignore_errors=True)
        (target / part).unlink(missing_ok=True)
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--sparse=always", str(source / part), str(target / part)], check=True)
