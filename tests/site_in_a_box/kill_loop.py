"""Kill -9 of any daemon at any moment, while commits come: what the end-to-end test and the soak run both do.

At the end the cluster has what the Atlas says and nothing else, and the cloud has every message ever numbered.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.site_in_a_box.ledger import Ledger
from tests.site_in_a_box.looks import run
from tests.site_in_a_box.node import BIN
from tests.site_in_a_box.restaurant import Restaurant
from tests.site_in_a_box.town import Town

KILLS_PER_COMMIT = 6


@dataclass(frozen=True)
class Account:
    """What came of a loop: how many kills, and how many messages were numbered in all."""

    kills: int
    messages: int


def edit(number: int, work: Path) -> None:
    """A commit that changes one object, and makes or removes one (a third of its app: no person's word is needed)."""
    config = work / "apps/menu/menu.yaml"
    config.write_text(re.sub(r"price_list: .*", f"price_list: standard-{number}", config.read_text()))
    app = work / "apps" / "pop-up"
    app.mkdir(exist_ok=True)
    (app / "app.yaml").write_text("v: 1\nowner: events\nnamespace: restaurant\nstage: 20\n")
    for name in ("one", "two", "three"):
        text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: pop-up-{name}\ndata:\n  number: '{number}'\n"
        (app / f"{name}.yaml").write_text(text)
    if number % 2 == 0:
        (app / "three.yaml").unlink()


async def applied(town: Town, one: Restaurant) -> set[str]:
    """Every object in the cluster that Vessel applied, as `Kind name`."""
    listed = await town.kubectl_run(one, "api-resources", "--verbs=list", "-o", "name")
    skipped = ("events", "leases", "pods", "replicasets", "controllerrevisions", "endpoints")
    kinds = ",".join(kind for kind in listed.split() if kind.split(".")[0] not in skipped)
    text = await town.kubectl_run(one, "get", kinds, "-A", "-o", "json", "--show-managed-fields")
    found = set()
    for item in json.loads(text)["items"]:
        meta = item["metadata"]
        if meta.get("namespace", "").startswith("galley-") or meta["name"].startswith("galley-"):
            continue  # Vessel's own: inventory, scratch namespace, rights
        if any(entry.get("manager") == "galley-vessel" for entry in meta.get("managedFields", [])):
            found.add(f"{item['kind']} {meta['name']}")
    return found


async def wanted(town: Town, one: Restaurant) -> set[str]:
    """The same of what the work tree says."""
    text = await run(BIN / "vessel", "render", "--kubectl", town.kubectl, "--output", "json", one.repo.work)
    rendered = json.loads(text)
    items = rendered["items"] if isinstance(rendered, dict) else rendered
    names = {f"{item['kind']} {item['metadata']['name']}" for item in items}
    assert len(names) == len(items)  # the example's names are unique, so the namespace need not be worked out
    return names


async def kill_loop(town: Town, one: Restaurant, kills: int, dice: random.Random) -> Account:
    """Kills and restarts, then judges; AssertionError names what is missing or left over."""
    ledger = Ledger()
    victims = [program for node in one.nodes for program in node.daemons.values()] + [town.endpoint.program]
    for number in range(kills):
        if number % KILLS_PER_COMMIT == 0:
            await asyncio.to_thread(one.repo.push, f"change {number}", partial(edit, number // KILLS_PER_COMMIT + 1))
        await asyncio.sleep(dice.uniform(0.05, 1.2))
        ledger.look(one)
        victim = dice.choice(victims)
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(dice.uniform(0, 0.3))
        await asyncio.to_thread(victim.start)
    revision = await asyncio.to_thread(one.repo.push, "the last change")
    await town.wait_beats(one)
    await town.wait_healthy(one, revision, seconds=150)
    await town.wait_synthetic(one)
    ledger.look(one)
    await _nothing_missing(town, one, ledger)
    await _nothing_left_over(town, one)
    devices = await town.cloud.call("GET", "/v1/admin/devices")
    assert len(devices) == len(one.nodes), f"{len(devices)} identities for {len(one.nodes)} nodes"
    return Account(kills, ledger.total)


async def _nothing_missing(town: Town, one: Restaurant, ledger: Ledger) -> None:
    missing: list[str] = []

    async def all_there() -> bool:
        nonlocal missing
        missing = await ledger.missing(town.cloud, one)
        return not missing

    try:
        await town.until(all_there, seconds=60, what="every queued message is at the cloud")
    except TimeoutError:
        raise AssertionError("\n".join(missing)) from None


async def _nothing_left_over(town: Town, one: Restaurant) -> None:
    async def the_same() -> bool:
        return await applied(town, one) == await wanted(town, one)

    try:
        await town.until(the_same, seconds=30, what="the cluster has what the Atlas says, and nothing else")
    except TimeoutError:
        is_there, should = await applied(town, one), await wanted(town, one)
        over, lacking = sorted(is_there - should), sorted(should - is_there)
        raise AssertionError(f"in the cluster alone: {over}; in the Atlas alone: {lacking}") from None
