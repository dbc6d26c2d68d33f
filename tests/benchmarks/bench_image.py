"""The image: boot from firmware to all units against bare images of the same Debian, imports, memory, sizes.

python -m tests.benchmarks.bench_image [--rounds 3] [--parts imports boot sizes]

They boot under emulation, in turn, in the same run: a start from the installed disk with settings there, until systemd
has nothing more to start. `stock` is Debian as it comes, `slimmed` what the image makes of it, without Galley. Needs
root. Exit 1 where a limit is passed; that of the boot is against stock Debian.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from images.nuc import build
from images.nuc.build import Built
from tests.benchmarks import bare_image, image_boots, image_imports, stock_image
from tests.benchmarks.image_boots import Boot
from tests.site_in_a_box.nuc import Nuc

STOCK, BARE, GALLEY = "stock Debian", "slimmed Debian", "Galley"
PARTS = ("imports", "boot", "sizes")
RATIO = 1.9
IMPORT_SECONDS = 1.5
REST_MB = 250.0
COMPRESSED_MB = 700.0


def imports(built: Built, rounds: int) -> bool:
    """CPU of each daemon's modules, by the image's own Python and files, natively."""
    found = image_imports.measure(built, rounds)
    total = sum(found.values())
    print("| process | CPU of its imports, s |\n|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.2f} |")
    print(f"| all (limit {IMPORT_SECONDS}) | {total:.2f} |\n")
    return total <= IMPORT_SECONDS


def boots(built: Built, folder: Path, rounds: int) -> bool:
    """Boots in turn; then what the daemons need at rest, and what multi-user waited for."""
    bare, stock = bare_image.ensure(), stock_image.ensure()
    machines = {
        STOCK: Nuc(stock, folder / "stock", [image_boots.copy_of(stock.disk, folder / "stock-disk")]),
        BARE: Nuc(bare, folder / "bare", [image_boots.copy_of(bare.disk, folder / "bare-disk")]),
        GALLEY: Nuc(built, folder / "node", [image_boots.installed(built, folder)]),
    }
    found: dict[str, list[Boot]] = {name: [] for name in machines}
    for number in range(rounds + 1):
        for name, machine in machines.items():
            try:
                one = image_boots.boot(machine)
                if name == GALLEY:
                    image_boots.all_started(machine)
                print(f"{name}, start {number}: {one}", file=sys.stderr, flush=True)
                if number > 0:  # the first one finds what the one before it has changed: a node's judges its /etc anew
                    found[name].append(one)
                if name == GALLEY and number == rounds:
                    chain = machine.run("systemd-analyze critical-chain --no-pager multi-user.target")
                    services, memory = image_boots.spent(machine), image_boots.pss(machine)
                machine.run("sync")
            finally:
                machine.cut_power()
    ratio = _times({name: Boot(*map(median, zip(*map(_row, some), strict=True))) for name, some in found.items()})
    print("| service, most CPU first | s, emulated |\n|---|---|")
    for name, seconds in services.items():
        print(f"| {name.removesuffix('.service')} | {seconds:.1f} |")
    print("\n| daemon at rest | PSS, MB |\n|---|---|")
    for name, size in memory.items():
        print(f"| {name} | {size:.1f} |")
    print(f"| all (limit {REST_MB:.0f}) | {sum(memory.values()):.1f} |\n")
    on_the_way = [line.strip() for line in chain.splitlines() if "galley-" in line]
    print(f"of Galley on the way to multi-user: {', '.join(on_the_way) or 'nothing'}\n")
    return ratio <= RATIO and sum(memory.values()) <= REST_MB and not on_the_way


def _times(middle: Mapping[str, Boot]) -> float:
    """The table of all; the ratio to stock Debian on the wall."""
    print("| from firmware to all units, emulated | wall, s | machine's CPU, s | kernel and initrd, s | units, s |")
    print("|---|---|---|---|---|")
    for name, one in middle.items():
        print(f"| {name} | {one.wall:.1f} | {one.cpu:.1f} | {one.kernel:.1f} | {one.userspace:.1f} |")
    ours = middle[GALLEY]
    for name, limit in ((STOCK, f" (limit {RATIO})"), (BARE, "")):
        theirs = middle[name]
        print(f"| ratio to {name}{limit} | {ours.wall / theirs.wall:.2f} | {ours.cpu / theirs.cpu:.2f} | | |")
    print()
    return ours.wall / middle[STOCK].wall


def _row(one: Boot) -> tuple[float, float, float, float]:
    return one.wall, one.cpu, one.kernel, one.userspace


def sizes(built: Built) -> bool:
    """What was built, MB (10^6 bytes)."""
    found = json.loads((built.folder / "sizes.json").read_text())
    print("| part of the image | MB |\n|---|---|")
    for name, size in found.items():
        print(f"| {name.replace('_', ', ')} | {size / 1e6:.0f} |")
    return bool(found["disk_compressed"] <= COMPRESSED_MB * 1e6)


def main(arguments: list[str]) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args(arguments)
    built = build.ensure()
    held = []
    with tempfile.TemporaryDirectory(prefix="galley-bench-") as place:
        if "imports" in options.parts:
            held.append(imports(built, options.rounds))
        if "boot" in options.parts:
            held.append(boots(built, Path(place), options.rounds))
        if "sizes" in options.parts:
            held.append(sizes(built))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
