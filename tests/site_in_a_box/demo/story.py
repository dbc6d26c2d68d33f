"""The live story: a commit, a death, a broken manifest, a hand in the cluster, a cut line; each done and then seen."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.site_in_a_box.demo.screen import bad, good, note, title
from tests.site_in_a_box.restaurant import Restaurant
from tests.site_in_a_box.town import Town

Scene = Callable[[Town, Restaurant], Awaitable[None]]


async def tell(town: Town) -> bool:
    """Plays all scenes at the first restaurant; True when each ended as it should."""
    well = True
    for scene in (a_commit, a_death, a_broken_manifest, a_hand_in_the_cluster, a_cut_line):
        title(f"{scene.__doc__ or ''}".strip())
        try:
            await scene(town, town.restaurants[0])
        except (TimeoutError, AssertionError, RuntimeError) as error:
            bad(str(error))
            well = False
    await photograph(town, None, "page.png")
    return well


async def a_commit(town: Town, one: Restaurant) -> None:
    """1. A commit changes the till's image: it is applied."""

    def edit(work: Path) -> None:
        file = work / "apps/point-of-sale/point-of-sale.yaml"
        file.write_text(file.read_text().replace("point-of-sale:4.2.0", "point-of-sale:4.3.0"))

    began = time.monotonic()
    revision = await asyncio.to_thread(one.repo.push, "Tills: version 4.3.0", edit)
    await town.wait_healthy(one, revision)
    image = await town.get(one, "deployment", "point-of-sale", "{.spec.template.spec.containers[0].image}")
    assert image.endswith(":4.3.0"), f"the image is {image}"
    good(f"healthy at {revision[:10]} after {time.monotonic() - began:.1f} s; the cluster runs {image}")


async def a_death(town: Town, one: Restaurant) -> None:
    """2. A node loses power: it is noticed, and its work goes on elsewhere."""
    victim = await town.holder(one) or one.nodes[-1]
    began = time.monotonic()
    await asyncio.to_thread(victim.kill)
    if one.kube is not None and one.kube.kwok is not None:
        await asyncio.to_thread(one.kube.kwok.lose_node, victim.name)
    await town.until(lambda: town.is_silent(one, victim), seconds=60, what=f"{victim.name} is noticed")
    good(f"{victim.name} (its Vessel held the Lease) is silent on the page after {time.monotonic() - began:.1f} s")

    async def other() -> bool:
        holder = await town.holder(one)
        return holder is not None and holder is not victim

    await town.until(other, seconds=40, what="another node's Vessel takes over")
    good(f"another node's Vessel took over after {time.monotonic() - began:.1f} s")
    victim.boot()
    if one.kube is not None and one.kube.kwok is not None:
        await asyncio.to_thread(one.kube.kwok.return_node, victim.name)
    await asyncio.to_thread(victim.start)
    await town.wait_beats(one)
    good("power is back: it beats again, by the same identity")


async def a_broken_manifest(town: Town, one: Restaurant) -> None:
    """3. A broken manifest is committed: nothing in the cluster changes, and the page names file and line."""

    def edit(work: Path) -> None:
        menu = work / "apps/menu/menu.yaml"
        menu.write_text(menu.read_text().replace("replicas: 2", "replicas: two"))
        drive = work / "apps/drive-thru/drive-thru.yaml"
        drive.write_text(drive.read_text().replace("drive-thru:3.3.0", "drive-thru:3.4.0"))

    before = await town.fingerprint(one)
    revision = await asyncio.to_thread(one.repo.push, "Menu: two replicas, drive-thru: 3.4.0", edit)
    began = time.monotonic()
    problem = await town.wait_refused(one, revision)
    assert problem["file"].endswith("menu.yaml") and problem["line"] > 0, f"the problem's place is {problem}"
    good(f"refused after {time.monotonic() - began:.1f} s: {problem['file']}:{problem['line']}: {problem['cause']}")
    await photograph(town, one, "page-refused.png")
    assert await town.fingerprint(one) == before, "an object of the Atlas changed"
    good("not one object of the Atlas changed, also not in the apps that were right")
    revision = await asyncio.to_thread(one.repo.revert, "Take it back")
    await town.wait_healthy(one, revision)
    good("the commit that takes it back is healthy")


async def photograph(town: Town, one: Restaurant | None, name: str) -> None:
    """A picture of the page (of one site, or of the fleet), where the demo was asked for pictures."""
    if town.pictures is None:
        return
    from tests.site_in_a_box.browser import take_picture

    await asyncio.sleep(3)
    certificate = town.endpoint.folder / "certs" / "server.pem"
    site = one.site if one else ""
    link = await town.login_link()
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(take_picture, link, certificate, town.pictures / name, Path(folder), site)
    note(f"picture: {town.pictures / name}")


async def a_hand_in_the_cluster(town: Town, one: Restaurant) -> None:
    """4. Somebody edits and deletes by hand: it is undone."""
    await town.kubectl_run(one, "scale", "-n", "restaurant", "deployment/drive-thru", "--replicas=5")
    began = time.monotonic()

    async def scaled_back() -> bool:
        return await town.get(one, "deployment", "drive-thru", "{.spec.replicas}") == "1"

    await town.until(scaled_back, seconds=20, what="the replicas are put back")
    good(f"replicas are put back after {time.monotonic() - began:.1f} s")
    await town.kubectl_run(one, "delete", "-n", "restaurant", "configmap/orders-schema")
    began = time.monotonic()

    async def there() -> bool:
        return await town.get(one, "configmap", "orders-schema", "{.data.version}") == "7"

    await town.until(there, seconds=20, what="the ConfigMap is made again")
    good(f"a deleted ConfigMap is back after {time.monotonic() - began:.1f} s")


async def a_cut_line(town: Town, one: Restaurant) -> None:
    """5. The line to the cloud is cut and comes back: nothing is lost."""
    for node in one.nodes:
        node.proxy.cut()
    note("cut for 10 s; the nodes go on and queue")
    await asyncio.sleep(10)
    revision = await asyncio.to_thread(one.repo.push, "Menu board: evening prices")
    await asyncio.sleep(2)
    for node in one.nodes:
        node.proxy.mend()
    began = time.monotonic()
    await town.until(lambda: town.nothing_missing(one), seconds=60, what="every message is at the cloud")
    good(f"mended: every queued message is there after {time.monotonic() - began:.1f} s, without a gap")
    await town.wait_healthy(one, revision)
    good("and the commit made meanwhile is healthy")
