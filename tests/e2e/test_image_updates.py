"""A/B updates of the image in machines that boot: over a line that is cut, killed in each phase, tried, blessed, and
taken back by themselves where the new image is bad.

Two machines at a time, as each is slow: `lucky` goes to a good image with the power cut in every phase, `unlucky` meets
a release of a stranger, one that does not start, and one that starts and is not well. Their lives are lived first, and
judged then. Everything is emulated: no test judges by time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from agents.core.jose import SoftwareKey
from images.nuc.build import Built
from tests.site_in_a_box import nuc_release
from tests.site_in_a_box.gpt import partitions
from tests.site_in_a_box.nuc import Nuc
from tests.site_in_a_box.nuc_shop import settled
from tests.site_in_a_box.nuc_updates import ENTRIES, LONG, UpdateShop, kill_when, running, until

STRANGE, DEAD, GOOD, ILL = "9.0.0", "9.1.0", "9.2.0", "9.3.0"
MIB = 2**20
Life = dict[str, Any]
"""What was seen in it, by name."""
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def shop(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpdateShop]:
    with UpdateShop(image, tmp_path_factory.mktemp("updates")) as shop:
        nuc_release.good(image, shop.releases / GOOD, GOOD)
        nuc_release.dead(image, shop.releases / DEAD, DEAD)
        nuc_release.ill(image, shop.releases / ILL, ILL)
        nuc_release.dead(image, shop.releases / STRANGE, STRANGE)
        for version in (GOOD, DEAD, ILL):
            shop.sign(version)
        stranger = shop.folder / "stranger.json"
        stranger.write_text(json.dumps(SoftwareKey.generate("Ed25519").private()))
        stranger.chmod(0o600)
        shop.sign(STRANGE, stranger)
        yield shop


@pytest.fixture(scope="module")
def lives(shop: UpdateShop) -> Iterator[dict[str, Future[Life]]]:
    machines = {name: shop.installed(f"GALLEY-NUC-{name.upper()}") for name in ("lucky", "unlucky")}
    with ThreadPoolExecutor() as pool:
        lived = {
            "lucky": pool.submit(_lucky, shop, machines["lucky"]),
            "unlucky": pool.submit(_unlucky, shop, machines["unlucky"]),
        }
        yield lived
    for machine in machines.values():
        machine.cut_power()


def _lucky(shop: UpdateShop, machine: Nuc) -> Life:
    """The line is cut amid the root; the power while the root is written, while the kernel is, before the reboot, and
    amid the trial."""
    life: Life = {}
    disk = machine.disks[0]
    root_b = partitions(disk)["root-b"]

    def entries() -> list[str]:
        return nuc_release.entries(shop.built, disk)

    def amid_root() -> bool:
        with disk.open("rb") as file:
            file.seek(root_b.start + 20 * MIB)
            return any(file.read(MIB))

    shop.server.cut(f"/{GOOD}/root.img", 40 * MIB)
    machine.boot(LONG)
    shop.order(machine, GOOD)
    until(amid_root, "the root is being written")
    machine.cut_power()
    life["root half written"] = entries()
    machine.boot(LONG)
    life["boot after"] = running(machine)
    kill_when(machine, f"[ -e {ENTRIES}/.galley.new ]")
    life["kernel half written"] = entries()
    machine.boot(LONG)
    kill_when(machine, f"[ -e {ENTRIES}/galley_{GOOD}_b+3.efi ] && sync -f {ENTRIES}")
    life["entry written"] = entries()
    machine.boot(LONG)
    life["trial"] = running(machine)
    machine.cut_power()
    life["trial cut off"] = entries()
    machine.boot(LONG)
    life["end"] = shop.ended(machine, GOOD)
    life["state"] = settled(machine)
    life["failed units"] = machine.run("systemctl --failed --no-legend --plain").strip()
    life["running"] = running(machine)
    life["esp mounted"] = machine.run("systemctl is-active efi.mount", check=False).strip()
    life["left"] = machine.run("ls /var/lib/galley/edge-commander", check=False).split()
    life["ends"] = shop.ends(machine)
    machine.power_off()
    life["entries"] = entries()
    return life


def _unlucky(shop: UpdateShop, machine: Nuc) -> Life:
    life: Life = {}
    disk = machine.disks[0]
    root_b = partitions(disk)["root-b"]

    def entries() -> list[str]:
        return nuc_release.entries(shop.built, disk)

    machine.boot(LONG)
    shop.order(machine, STRANGE)
    life["strange"] = shop.ended(machine, STRANGE)
    with disk.open("rb") as file:
        file.seek(root_b.start)
        life["strange written"] = any(file.read(4 * MIB))

    kernel = f"/{DEAD}/kernel-b.efi"
    shop.order(machine, DEAD)
    until(lambda: shop.server.sent.get(kernel, 0) > 8 * MIB, "the kernel is being fetched")
    machine.cut_power()
    machine.boot(LONG)
    machine.wait_off(LONG)
    life["dead"] = [entries()]
    for attempt in range(3):
        machine.start()
        machine.wait_console("Kernel panic", LONG)
        if attempt == 0:
            machine.wait_off(LONG)  # by itself: the kernel starts the machine anew
        machine.cut_power()
        life["dead"].append(entries())
    machine.boot(LONG)
    life["dead end"] = shop.ended(machine, DEAD)
    life["after dead"] = running(machine)

    shop.order(machine, ILL)
    machine.wait_off(LONG)
    nuc_release.rename_entry(shop.built, disk, f"galley_{ILL}_b+3.efi", f"galley_{ILL}_b+1-2.efi")  # two tries are gone
    machine.start()
    machine.wait_off(LONG)
    life["ill"] = entries()
    machine.boot(LONG)
    life["ill end"] = shop.ended(machine, ILL)
    life["after ill"] = running(machine)
    life["gate"] = machine.run("journalctl -u galley-boot-gate -b -1 --no-pager -o cat", check=False)
    life["ends"] = shop.ends(machine)
    machine.power_off()
    return life


def old(shop: UpdateShop) -> str:
    return f"galley_{shop.built.version}_a.efi"


def test_no_entry_starts_a_root_or_a_kernel_that_is_half_written(
    shop: UpdateShop, lives: dict[str, Future[Life]]
) -> None:
    life = lives["lucky"].result()
    assert life["root half written"] == [old(shop)]
    assert life["boot after"] == ("a", shop.built.version)
    assert [one for one in life["kernel half written"] if not one.startswith(".")] == [old(shop)]
    assert life["entry written"] == sorted([old(shop), f"galley_{GOOD}_b+3.efi"])


def test_what_was_cut_off_goes_on_where_it_was(shop: UpdateShop, lives: dict[str, Future[Life]]) -> None:
    lives["lucky"].result()
    lives["unlucky"].result()
    root = f"/{GOOD}/root.img"
    starts = [start for path, start in shop.server.asked if path == root]
    assert starts[0] == 0
    assert all(starts[1:]), starts
    size = (shop.releases / GOOD / "root.img").stat().st_size
    assert shop.server.sent[root] < size + 8 * MIB
    starts = [start for path, start in shop.server.asked if path == f"/{DEAD}/kernel-b.efi"]
    assert starts[0] == 0
    assert len(starts) > 1


def test_the_power_goes_in_every_phase_and_the_update_ends_in_the_new_image(
    shop: UpdateShop, lives: dict[str, Future[Life]]
) -> None:
    life = lives["lucky"].result()
    assert life["trial"] == ("b", GOOD)
    assert life["trial cut off"] in ([old(shop), f"galley_{GOOD}_b+{left}-{3 - left}.efi"] for left in (1, 2))
    assert life["running"] == ("b", GOOD)
    assert life["entries"] == sorted([old(shop), f"galley_{GOOD}_b.efi"]), "blessed: its tries are no longer counted"
    assert not life["failed units"]
    assert life["state"] == "running"
    assert "release" not in life["left"], "what was fetched is gone"


def test_its_end_is_told_once(lives: dict[str, Future[Life]]) -> None:
    life = lives["lucky"].result()
    assert life["end"] == ("image-updated", f"image {GOOD}: it runs", 1)
    assert life["ends"] == {"image-updated": (f"image {GOOD}: it runs", 1)}


def test_a_strangers_release_is_refused_before_anything_of_it_is_fetched_or_written(
    shop: UpdateShop, lives: dict[str, Future[Life]]
) -> None:
    life = lives["unlucky"].result()
    code, text, count = life["strange"]
    assert (code, count) == ("image-update-failed", 1)
    assert "the release is refused" in text
    assert not life["strange written"]
    assert {path for path, _ in shop.server.asked if path.startswith(f"/{STRANGE}/")} == {f"/{STRANGE}/release.json"}


def test_an_image_that_does_not_start_is_left_after_its_tries(shop: UpdateShop, lives: dict[str, Future[Life]]) -> None:
    life = lives["unlucky"].result()
    names = [f"galley_{DEAD}_b{tries}.efi" for tries in ("+3", "+2-1", "+1-2", "+0-3")]
    assert life["dead"] == [[old(shop), name] for name in names]
    assert life["after dead"] == ("a", shop.built.version)
    text = f"image {DEAD}: {DEAD} did not start, or was not well: the node runs {shop.built.version} again"
    assert life["dead end"] == ("image-update-failed", text, 2)


def test_an_image_that_is_not_well_starts_the_machine_anew_and_the_old_one_comes_back(
    shop: UpdateShop, lives: dict[str, Future[Life]]
) -> None:
    life = lives["unlucky"].result()
    assert life["ill"] == [old(shop), f"galley_{ILL}_b+0-3.efi"]
    assert "this image is not well: the suite's units are not up" in life["gate"]
    assert life["after ill"] == ("a", shop.built.version)
    assert set(life["ends"]) == {"image-update-failed"}
    assert life["ill end"][2] == 3, "each end was told once"
