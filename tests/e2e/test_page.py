"""The page in a real Chromium, over a real endpoint that enrolled devices report to.

`GALLEY_PICTURES=DIR` keeps the screenshots there; otherwise they lie in the test's own folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agents.contracts.health import HealthBit
from agents.core.jose import SoftwareKey
from tests.site_in_a_box.browser import Browser, chromium
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.reports import Device, alert, deployment, device, facts, problem, state, step, synthetic

NOTICE = "Pods of these sites are played by KWOK."
MARK = "window.struck=1"
PAYLOADS = (
    f"<script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f'"><svg onload={MARK}>',
    f"javascript:{MARK}",
    "{{constructor.constructor('" + MARK + "')()}}",
    f"</script><script>{MARK}//",
    "\u202egnp.exe &lt;b&gt; \x00\x1b[31m",
)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def _needs_chromium(capsys: pytest.CaptureFixture[str]) -> None:
    if chromium() is None:
        with capsys.disabled():
            print("\nnot run: no Chromium", flush=True)
        pytest.skip("no Chromium")


@dataclass
class Scene:
    """An endpoint with two sites of three nodes; all beat but those in `still`."""

    endpoint: Endpoint
    operator: EndpointClient
    folder: Path
    nodes: dict[tuple[str, str], Device]
    still: set[tuple[str, str]]

    async def link(self) -> str:
        return str((await self.operator.call("POST", "/v1/admin/login-link"))["url"])

    async def browse(self, look: Callable[[Browser], T], **options: Any) -> T:
        """Runs `look` with a logged-in browser in a thread; its console must be clean afterwards."""
        link = await self.link()

        def work() -> T:
            with Browser(self.folder, self.folder / "certs" / "server.pem", **options) as browser:
                browser.login(link)
                found = look(browser)
                assert browser.complaints() == []
                return found

        return await asyncio.to_thread(work)

    def picture(self, name: str) -> Path:
        return Path(os.environ.get("GALLEY_PICTURES") or self.folder) / f"{name}.png"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    endpoint = Endpoint(tmp_path, page={"notice": NOTICE}, beat_seconds=2)
    await asyncio.to_thread(endpoint.start)
    try:
        async with contextlib.AsyncExitStack() as stack:
            operator = await stack.enter_async_context(endpoint.operator())
            nodes = {}
            for site in ("store-00001", "store-00002"):
                await operator.put_site(site, labels={"region": "north", "owner": "team-fjord"})
                for name in ("nuc-1", "nuc-2", "nuc-3"):
                    one = device(endpoint, operator, f"HW-{site}-{name}", site, name)
                    nodes[site, name] = await stack.enter_async_context(one)
            it = Scene(endpoint, operator, tmp_path, nodes, set())
            for (site, name), node in nodes.items():
                await node.send("heartbeat", facts(f"{site}-{name}"))
                await node.send("commander", state())
            beating = asyncio.create_task(_beat(it))
            try:
                yield it
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
    finally:
        await asyncio.to_thread(endpoint.stop)
    assert endpoint.program.returncode == 0, endpoint.program.log_tail()


async def _beat(scene: Scene) -> None:
    began = time.monotonic()
    while True:
        for key, node in scene.nodes.items():
            if key not in scene.still:
                hot = {HealthBit.TEMPERATURE: key != ("store-00002", "nuc-3")}
                await node.beat(90_000 + int(time.monotonic() - began), health=hot)
        await asyncio.sleep(2)


async def _ordinary(scene: Scene) -> None:
    for site in ("store-00001", "store-00002"):
        first = scene.nodes[site, "nuc-1"]
        await first.send("vessel", *[deployment(app) for app in ("pos", "kitchen-display", "inventory")])
        steps = [step("menu", {3: 40, 4: 60, 7: 1}), step("write, read, delete", {5: 30, 6: 70}, kind="kubernetes")]
        await scene.nodes[site, "nuc-2"].send("synthetic", synthetic(*steps))


async def test_what_happens_is_seen_without_a_reload(scene: Scene) -> None:
    """A refused commit, a failing step, a silent node and a waiting device appear on a page that is never reloaded."""
    await _ordinary(scene)
    loop = asyncio.get_running_loop()
    site = "store-00002"
    place = "apps/pos/deployment.yaml"

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    def look(browser: Browser) -> None:
        browser.run("window.marker = 'the same document'")
        assert browser.text("#notice") == NOTICE
        browser.until(lambda: "every 2 s" in browser.text("footer"), "the interval is shown")
        rows = lambda: [row.text for row in browser.all("table.sites tbody tr")]  # noqa: E731
        browser.until(
            lambda: len(rows()) == 2 and all("Well" in row or "Look" in row for row in rows()), "both are well"
        )
        bad = problem("mapping values are not allowed here", place, 14)
        scene.still.add((site, "nuc-2"))
        do(scene.nodes[site, "nuc-1"].send("vessel", deployment("*", "refused", revision="9c" * 20, problems=[bad])))
        browser.until(lambda: "1 deployment failed" in rows()[0], "the refused commit", 5)
        do(scene.nodes[site, "nuc-1"].send("synthetic", synthetic(step("mqtt", {}, failed=4, error="no broker"))))
        browser.until(lambda: "1 test step failing" in rows()[0], "the failing step", 5)
        browser.until(lambda: "1 node silent" in rows()[0], "the silent node", 20)
        assert rows()[0].find(site) > 0, "the worst comes first"
        assert site in browser.run("return document.getElementById('said').textContent")
        assert browser.driver.title == "(1) Galley"
        do(_stranger(scene))
        browser.until(lambda: browser.text("#waiting") == "1", "a device waits", 5)
        browser.picture(scene.picture("fleet"))
        browser.one(f"a[href='#/site/{site}']").click()
        browser.until(lambda: browser.shows(f"{place}:14"), "file and line")
        for text in (
            "mapping values are not allowed here",
            "Silent",
            "The machine is too hot",
            "Ines Okafor",
            "no broker",
        ):
            assert browser.shows(text), text
        before = browser.text(".nodecard:first-child time")
        browser.until(lambda: browser.text(".nodecard:first-child time") != before, "ages go on")
        browser.run("document.querySelector('.nodecard details').open = true")
        do(scene.nodes[site, "nuc-1"].send("vessel", deployment("loyalty", subject="Points for everyone")))
        browser.until(lambda: browser.shows("Points for everyone"), "the open site is brought up to date", 5)
        assert browser.run("return document.querySelector('.nodecard details').open"), "what was opened stays open"
        browser.picture(scene.picture("site"))
        assert browser.run("return window.marker") == "the same document"
        _approve(browser, scene)

    await scene.browse(look)


async def _stranger(scene: Scene) -> None:
    async with scene.endpoint.client("", SoftwareKey.generate()) as client:
        assert (await client.enrol("HW-unknown"))[0] == 202


def _approve(browser: Browser, scene: Scene) -> None:
    browser.one("#nav-devices").click()
    browser.one("button[data-what=approve]").click()
    browser.one("input[name=site]").send_keys("store-00001")
    browser.one("input[name=name]").send_keys("nuc-4")
    browser.picture(scene.picture("devices"))
    browser.one(".question button[type=submit]").click()
    browser.until(lambda: browser.shows("The device may join now."), "the device is approved")
    browser.until(lambda: browser.text("#waiting") == "", "none waits", 5)


async def test_hostile_text_stays_text_in_every_field(scene: Scene) -> None:
    """Whatever a commit, a host, a label, an app or an error is called: it is shown, and does nothing."""
    site, label = "store-00001", PAYLOADS[0]
    node = scene.nodes[site, "nuc-1"]
    await scene.operator.put_site(site, labels={label: PAYLOADS[1], "owner": PAYLOADS[2]})
    scene.endpoint.store_atlas(site, {"url": PAYLOADS[3]})
    for number, text in enumerate(PAYLOADS):
        errors = [problem(text, text, number, text, text), problem("x" * 4000 + text)]
        fields = {"owner": text, "subject": text, "author": text, "revision": text, "problems": errors}
        await node.send("vessel", deployment(f"{number} {text}", "refused", **fields), alert(text, "critical", text))
        bad = step(f"{number} {text}", {3: 5}, kind=text, failed=1, error=text) | {"errors": {text: 1}}
        await node.send("synthetic", synthetic(bad, scenario=text))
        disks = [{"path": text, "total": 10, "free": 1, "inodes_free_percent": 1.0}]
        links = [{"name": text, "up": True, "speed": 0, "addresses": [text]}]
        plain = dict.fromkeys(("hardware", "serial", "kernel", "os"), text)
        told = facts(text, disks=disks, links=links, versions={text: text}, **plain)
        await scene.nodes[site, f"nuc-{number % 3 + 1}"].send("heartbeat", told)
        await scene.nodes[site, f"nuc-{number % 3 + 1}"].send("commander", state("ready", text))
        async with scene.endpoint.client("", SoftwareKey.generate()) as stranger:
            body = stranger.enrol_request(f"HW {number} {text}", SoftwareKey.generate())
            status, _ = await stranger.request("POST", "/v1/enrol", json=body | {"hostname": text, "hardware": text})
            assert status == 202

    def look(browser: Browser) -> None:
        browser.until(lambda: len(browser.all("table.sites tbody tr")) == 2, "the sites")
        inert(browser)
        browser.run("location.hash = arguments[0]", f"#/site/{site}")
        browser.until(lambda: len(browser.all("table.apps tbody tr")) >= 2 * len(PAYLOADS), "the apps")
        browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
        for text in PAYLOADS[:6]:
            browser.until(lambda text=text: text in browser.run("return document.body.textContent"), f"{text} is shown")
        inert(browser)
        browser.picture(scene.picture("hostile"))
        browser.run("location.hash = '#/devices'")
        browser.until(lambda: len(browser.all(".devices tbody tr")) == len(PAYLOADS), "the devices")
        browser.all("button[data-what=refuse]")[0].click()
        inert(browser)
        browser.run("location.hash = arguments[0]", "#/site/" + PAYLOADS[1])
        browser.until(lambda: browser.shows("no such site"), "an unknown site says so")
        inert(browser)
        ignored = browser.complaints()
        assert all("/v1/fleet/overview/" in line and "404" in line for line in ignored), ignored

    await scene.browse(look)


def inert(browser: Browser) -> None:
    """Nothing that came from outside became an element or ran."""
    assert browser.run("return window.struck") is None
    found = browser.run(
        "return [...document.querySelectorAll('script, img, iframe, object, embed, style, b, [onerror], [onload],"
        " [style], a')].map(e => e.tagName + ' ' + (e.getAttribute('src') || e.getAttribute('href') || ''))"
    )
    allowed = ("SCRIPT /assets/main.js", "IMG /assets/icon.svg", "A #")
    assert [one for one in found if not one.startswith(allowed)] == []


async def test_the_session_in_a_real_browser(scene: Scene) -> None:
    """The cookie's nature, a link from another site, a restart of the endpoint, logout."""
    await _ordinary(scene)
    loop = asyncio.get_running_loop()

    def look(browser: Browser) -> None:
        cookie = next(one for one in browser.cookies() if one["name"] == "__Host-galley")
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
        assert "galley" not in browser.run("return document.cookie")
        browser.driver.get(f"data:text/html,<a href='{scene.endpoint.url}/'>to the page</a>")
        browser.one("a").click()
        browser.until(lambda: browser.text("#live") == "Live", "a link from elsewhere finds the session")
        scene.still.update(scene.nodes)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), loop).result(5)
        scene.endpoint.stop()
        browser.until(lambda: "Not live" in browser.text("#live"), "the page says that it is not live")
        scene.endpoint.start()
        scene.still.clear()
        browser.until(lambda: browser.text("#live") == "Live", "it is live again by itself", 30)
        browser.until(lambda: browser.shows("3 of 3 alive"), "and up to date")
        lost = [line for line in browser.complaints() if "ERR_" not in line and "503" not in line]
        assert lost == []
        browser.one("#logout").click()
        browser.until(lambda: browser.shows("needs a one-time link"), "logged out")
        browser.driver.get(scene.endpoint.url + "/")
        assert browser.driver.current_url.endswith("/login")
        assert not [one for one in browser.cookies() if one["name"] == "__Host-galley"]

    await scene.browse(look)


async def test_dark_narrow_and_by_keyboard(scene: Scene) -> None:
    """It can be read on a telephone and in the dark, and used without a mouse; words go with every colour."""
    await _ordinary(scene)

    def look(browser: Browser) -> None:
        browser.until(lambda: len(browser.all("table.sites tbody tr")) == 2, "the sites")
        light = browser.run("return getComputedStyle(document.body).backgroundColor")
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert browser.run("return getComputedStyle(document.body).backgroundColor") != light
        browser.driver.set_window_size(500, 900)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        browser.until(lambda: browser.run(wide) <= 0, "nothing runs off the side")
        browser.picture(scene.picture("narrow"))
        browser.run("location.hash = '#/site/store-00002'")
        browser.until(lambda: browser.all("article.site section"), "the site")
        assert browser.run(wide) <= 0
        unnamed = browser.run(
            "return [...document.querySelectorAll('button, a, input, select')].filter(e => !(e.textContent.trim()"
            " || e.getAttribute('aria-label') || e.labels?.length)).length"
        )
        assert unnamed == 0
        assert browser.run("return [...document.querySelectorAll('thead th')].every(e => e.scope === 'col')")
        assert browser.run("return [...document.querySelectorAll('.badge')].every(e => e.textContent.length > 2)")
        assert browser.run("return document.querySelectorAll('main, header, footer, nav').length") >= 4
        browser.run("location.hash = '#/'")
        search = browser.one("#search")
        search.send_keys("00002")
        browser.until(lambda: len(browser.all("table.sites tbody tr")) == 1, "the search")
        time.sleep(2.5)
        assert browser.run("return document.activeElement.id") == "search", "a redraw must not take the focus"

    await scene.browse(look)
