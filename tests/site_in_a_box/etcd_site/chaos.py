"""What befalls a site while it forms, out of a seed; and the run of one such site, with what must hold in the end.

    python -m tests.site_in_a_box.etcd_site.chaos SEED [offline]

A seed gives what happens and when. How far the boxes are by then is the machine's doing, so a seed that failed is to be
run a few times.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.etcd_site.box import Box
from tests.site_in_a_box.etcd_site.site import GATEWAY, EtcdSite

SPANS = (16.0, 26.0)
"""s in which blows fall, for a site and the next: three boxes need 20 s on a quiet machine, and 40 s on a busy one."""
BOUND_SECONDS = 240.0
"""From the last repair to one whole cluster; a quiet machine needs less than a minute."""
KINDS = ("cut", "cut", "cut", "cut all", "restart", "restart", "part", "unplug", "line")
LASTS = {"cut": 3.0, "cut all": 2.0, "part": 6.0, "unplug": 6.0, "line": 8.0}


@dataclass(frozen=True, order=True)
class Blow:
    """At `at` s after power-on, `kind` befalls the box `box` (and `other`); it lasts `lasts` s."""

    at: float
    kind: str
    box: int
    other: int
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.kind} {self.box + 1}/{self.other + 1} for {self.lasts:.1f} s"


def blows(seed: int, boxes: int = 3) -> list[Blow]:
    """Two to five of them, in the order of time."""
    rng = random.Random(seed)
    span = SPANS[seed // 2 % 2]
    made = []
    for _ in range(rng.randint(2, 5)):
        kind = rng.choice(KINDS)
        box, other = rng.sample(range(boxes), 2)
        made.append(Blow(rng.uniform(0.5, span), kind, box, other, rng.uniform(0.1, LASTS.get(kind, 0.1))))
    return sorted(made)


class Chaos:
    """Deals the blows, and mends what each broke when its time is over."""

    def __init__(self, site: EtcdSite, planned: list[Blow]) -> None:
        self.site = site
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        for number, blow in enumerate(planned):
            self._todo.append((blow.at, number, lambda blow=blow: self._strike(blow)))  # type: ignore[misc]
            self._todo.append((blow.at + blow.lasts, number, lambda blow=blow: self._mend(blow)))  # type: ignore[misc]
        self._todo.sort(key=lambda one: one[:2])

    def run(self) -> None:
        """All of it, looking at every disk after each; then everything is mended."""
        began = time.monotonic()
        for at, _, action in self._todo:
            while (left := began + at - time.monotonic()) > 0:
                time.sleep(min(left, 0.5))
                self.site.look()
            action()
            self.site.look()
        self.heal()

    def _strike(self, blow: Blow) -> None:
        box, other = self.site.boxes[blow.box], self.site.boxes[blow.other]
        match blow.kind:
            case "cut":
                box.cut_power()
            case "cut all":
                self._each(lambda one: one.cut_power())
            case "restart":
                if box.on:
                    box.kill_commander()
            case "part":
                box.deafen(other, deaf=True)
                other.deafen(box, deaf=True)
            case "unplug":
                box.plug(up=False)
            case "line":
                self.site.cut_line()

    def _mend(self, blow: Blow) -> None:
        box, other = self.site.boxes[blow.box], self.site.boxes[blow.other]
        match blow.kind:
            case "cut" if not box.on:
                box.power_on()
            case "cut all":
                self._each(lambda one: None if one.on else one.power_on())
            case "part":
                box.deafen(other, deaf=False)
                other.deafen(box, deaf=False)
            case "unplug":
                box.plug(up=True)
            case "line":
                self.site.mend_line()

    def heal(self) -> None:
        """Everything has power, cable and line."""
        for box in self.site.boxes:
            if not box.on:
                box.power_on()
            box.plug(up=True)
            for other in self.site.boxes:
                if other is not box:
                    box.deafen(other, deaf=False)
        self.site.mend_line()

    def _each(self, what: Callable[[Box], None]) -> None:
        with ThreadPoolExecutor(len(self.site.boxes)) as pool:
            list(pool.map(what, self.site.boxes))


@dataclass(frozen=True)
class Lived:
    """How a site came through. `healed`: s from the last repair to one whole cluster."""

    seed: int
    election: str
    planned: tuple[Blow, ...]
    healed: float

    def __str__(self) -> str:
        story = "; ".join(str(one) for one in self.planned)
        return f"seed {self.seed}, {self.election}: whole {self.healed:.0f} s after the last repair ({story})"


def live(folder: Path, endpoint: Endpoint, seed: int, election: str) -> Lived:
    """One site's formation amid chaos. AssertionError, with seed and story, where anything of it does not hold."""
    planned = blows(seed)
    site = EtcdSite(folder, endpoint, f"store-{seed % 100_000:05d}", election=election)
    print(f"seed {seed}, {election}: {'; '.join(str(one) for one in planned)}", flush=True)
    try:
        site.up(3)
        for box in site.boxes:
            box.power_on()
        Chaos(site, planned).run()
        healed = site.wait(lambda: site.whole(site.boxes), BOUND_SECONDS, "one cluster of all boxes, all voting")
        writer = site.boxes[seed % 3]
        site.write(writer, "/galley-test", f"by {writer.name}")
        assert {site.read(box, "/galley-test") for box in site.boxes} == {f"by {writer.name}"}
        site.look()
        assert len(site.clusters_seen) == len(site.uids_seen) == 1, site.story()
        assert all(box.ids() == site.clusters_seen for box in site.boxes), site.story()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, {election}: {error}") from None
    finally:
        site.down()
    shutil.rmtree(folder, ignore_errors=True)
    return Lived(seed, election, tuple(planned), healed)


def election_of(seed: int) -> str:
    """Every other site decides by itself."""
    return "offline" if seed % 2 else "cloud"


def main() -> int:
    """One seed, as said above."""
    seed = int(sys.argv[1])
    election = sys.argv[2] if len(sys.argv) > 2 else election_of(seed)
    folder = Path(tempfile.mkdtemp(prefix="galley-es-"))
    endpoint = Endpoint(folder / "cloud", names=[GATEWAY])
    try:
        endpoint.start()
        print(live(folder / "s", endpoint, seed, election))
    finally:
        endpoint.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
