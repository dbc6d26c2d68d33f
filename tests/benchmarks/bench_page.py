"""The page with a large fleet: what a beat costs beyond storing it, the size of the snapshot, time to show it.

Run: `python -m tests.benchmarks.bench_page [sites]` (default 2500, three nodes each, 8 apps, 4 test steps).
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import structlog

from agents.contracts.codec import decode, encode
from agents.contracts.ids import node_id
from agents.contracts.messages import Body
from agents.core.jose import SoftwareKey
from agents.io.clock import SystemClock
from agents.supervise.pulse import Pulse
from cloud_endpoint.page.hub import Hub
from cloud_endpoint.records import DeviceRecord
from cloud_endpoint.rules.newer import Position
from cloud_endpoint.store import devices, sites
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.projections import Arrived, apply
from cloud_endpoint.store.sqlite import SqliteStore
from tests.site_in_a_box.browser import Browser, chromium
from tests.site_in_a_box.endpoint import Endpoint
from tests.site_in_a_box.reports import deployment, facts, state, step, synthetic

NODES = 3
APPS = ("pos", "kitchen-display", "inventory", "loyalty", "drive-through", "menu-board", "ovens", "staff")
INTERVAL = 15.0
RUN = "0123456789abcdef"


def body(value: dict[str, Any]) -> tuple[Body, str]:
    """A message as the endpoint holds it, and its text."""
    read: Body = decode(encode(value), Body)  # type: ignore[arg-type]
    return read, encode(read).decode()


def arrive(tx: Tx, site: str, node: str, seq: int, message: tuple[Body, str]) -> None:
    at = Position(RUN, seq, int(time.time() * 1000))
    apply(tx, Arrived(site=site, node=node, at=at, body=message[0], text=message[1]))


def nodes_of(site: str) -> list[str]:
    return [node_id(f"HW-{site}-{number}") for number in range(NODES)]


class Messages:
    """One of each kind, made once."""

    def __init__(self) -> None:
        self.beat = body({"kind": "beat", "v": 1, "boot": "1a2b3c4d", "up": 9, "ok": 0x3FF03FF, "via": "unit"})
        self.facts = body(facts(interval=INTERVAL))
        self.state = body(state())
        self.apps = [body(deployment(app)) for app in APPS]
        steps = [step(name, {3: 40, 4: 60, 7: 1}) for name in ("menu", "api", "cloud", "mqtt")]
        self.synthetic = body(synthetic(*steps))


async def fill(store: SqliteStore, count: int) -> None:
    """A fleet that is well."""
    public, messages = SoftwareKey.generate().public, Messages()

    def site(tx: Tx, name: str) -> None:
        sites.put(tx, name, {"region": "north", "provider": "fibre-one", "ring": "3", "owner": "fjord"}, None)
        for number, node in enumerate(nodes_of(name)):
            hardware = f"HW-{name}-{number}"
            device = DeviceRecord(
                node=node,
                hardware_id=hardware,
                site=name,
                name=f"nuc-{number + 1}",
                address="10.0.0.7",
                status="enrolled",
                signing=public,
                signing_kid="k",
                sealing=public,
                sealing_kid="k",
            )
            devices.register(tx, device)
            for kind in (messages.beat, messages.facts, messages.state):
                arrive(tx, name, node, 1, kind)
        for app in messages.apps:
            arrive(tx, name, nodes_of(name)[0], 1, app)
        arrive(tx, name, nodes_of(name)[1], 1, messages.synthetic)

    for first in range(0, count, 100):
        names = [f"store-{number:05d}" for number in range(first, min(first + 100, count))]
        await store.write(lambda tx, names=names: [site(tx, name) for name in names])  # type: ignore[misc]


def used() -> float:
    """CPU seconds of this process."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


async def beats(store: SqliteStore, count: int, seconds: float) -> tuple[int, float]:
    """The whole fleet beats at its pace for so long; how many beats, and CPU seconds of all of it."""
    every = [(f"store-{n:05d}", node) for n in range(count) for node in nodes_of(f"store-{n:05d}")]
    beat, rate = Messages().beat, len(every) / INTERVAL
    began, sent, spent = time.monotonic(), 0, used()
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        part = [(sent + n, every[(sent + n) % len(every)]) for n in range(due - sent)]
        await store.write(lambda tx, part=part: [arrive(tx, s, n, 10 + k, beat) for k, (s, n) in part])  # type: ignore[misc]
        sent = due
        await asyncio.sleep(0.01)
    return sent, used() - spent


async def measure_hub(path: Path, count: int, seconds: float = 15.0) -> dict[str, Any]:
    """Beats without and with the page's hub."""
    clock = SystemClock()
    store = await SqliteStore.open(path, clock.wall_ms)
    found: dict[str, Any] = {}
    try:
        began = time.monotonic()
        await fill(store, count)
        found["filled in s"] = round(time.monotonic() - began, 1)
        sent, bare = await beats(store, count, seconds)
        stopping = asyncio.Event()
        hub = Hub(store, clock, structlog.get_logger(), interval=INTERVAL, frame_seconds=0.25)
        began = time.monotonic()
        task = asyncio.create_task(hub.run(Pulse("page", clock, stopping)))
        await hub.ready.wait()
        found["fleet read in s"] = round(time.monotonic() - began, 2)
        version, frames, size = hub.view.version, 0, 0

        async def follow() -> None:
            nonlocal version, frames, size
            while True:
                frame = await hub.after(version, 1.0)
                if frame is not None:
                    version, frames, size = frame.version, frames + 1, size + len(frame.encode())

        reader = asyncio.create_task(follow())
        again, shown = await beats(store, count, seconds)
        reader.cancel()
        found["beats a second"] = round(again / seconds)
        found["CPU us a beat, stored"] = round(bare / sent * 1e6)
        found["CPU us a beat, stored and shown"] = round(shown / again * 1e6)
        found["events a second"] = round(frames / seconds, 1)
        found["event bytes a second"] = round(size / seconds)
        began = time.perf_counter()
        whole = hub.view.snapshot(clock.wall_ms()).encode()
        found["snapshot made in ms"] = round((time.perf_counter() - began) * 1000, 1)
        found["snapshot bytes"] = len(whole)
        found["snapshot bytes, deflated"] = len(zlib.compress(whole))
        stopping.set()
        await task
    finally:
        await store.aclose()
    return found


async def measure_browser(folder: Path, store: Path, count: int) -> dict[str, Any]:
    """The same fleet in Chromium."""
    if chromium() is None:
        return {"browser": "not run: no Chromium"}
    endpoint = Endpoint(folder, store=str(store), beat_seconds=INTERVAL)
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator:
            url = (await operator.call("POST", "/v1/admin/login-link"))["url"]
            return await asyncio.to_thread(_browse, endpoint, folder, url, count)
    finally:
        await asyncio.to_thread(endpoint.stop)


def _browse(endpoint: Endpoint, folder: Path, url: str, count: int) -> dict[str, Any]:
    with Browser(folder, folder / "certs" / "server.pem") as browser:
        browser.driver.get(url)
        browser.one("form button").click()
        wanted = f"{count} sites"
        browser.until(lambda: browser.text("#result") == wanted, "all sites are there", 60)
        browser.driver.get("about:blank")
        browser.driver.get(endpoint.url + "/")
        browser.until(lambda: browser.text("#result") == wanted, "all sites are there", 60)
        script = """
            const done = arguments[0], search = document.getElementById('search'), began = performance.now();
            const seen = new MutationObserver(() => { seen.disconnect(); requestAnimationFrame(() => done(performance.now() - began)); });
            seen.observe(document.querySelector('#result'), {childList: true, characterData: true, subtree: true});
            search.value = '0123'; search.dispatchEvent(new Event('input'));
        """  # noqa: E501
        shown = browser.run(
            "return performance.getEntriesByType('resource').filter(e => e.name.includes('overview'))"
            ".map(e => [e.startTime, e.responseEnd, e.transferSize])[0]"
        )
        return {
            "snapshot asked for at ms": round(shown[0]),
            "snapshot here at ms": round(shown[1]),
            "snapshot bytes on the wire": shown[2],
            "all rows drawn at ms": round(
                browser.run("return performance.getEntriesByName('galley-drawn')[0].startTime")
            ),
            "search drawn in ms": round(browser.driver.execute_async_script(script)),
            "script heap MB": round(browser.run("return performance.memory.usedJSHeapSize") / 1e6, 1),
        }


def main(arguments: list[str]) -> int:
    """Prints both tables."""
    count = int(arguments[0]) if arguments else 2500
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = folder / "fleet.db"
        print(f"{count} sites of {NODES} nodes, beats every {INTERVAL:.0f} s")
        for name, value in asyncio.run(measure_hub(store, count)).items():
            print(f"| {name} | {value} |")
        for name, value in asyncio.run(measure_browser(folder, store, count)).items():
            print(f"| {name} | {value} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
