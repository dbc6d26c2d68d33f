"""The event stream: what changed and nothing else, from where the reader was, for as long as its login lasts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from agents.io.clock import SystemClock
from agents.supervise.pulse import Pulse
from cloud_endpoint.page.hub import FRAMES, Behind, Hub
from cloud_endpoint.store import sites
from cloud_endpoint.store.sqlite import SqliteStore
from tests.integration.page.conftest import Person, link, new_operator
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.reports import Device, alert, deployment, device, facts, state, step, synthetic

PATIENCE = 10.0


class Stream:
    """One open event stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.status = answer.status
        self.comments = 0
        self.last_id = ""

    async def next(self, seconds: float = PATIENCE) -> tuple[str, Any] | None:
        """The next event and its data, None at the end."""
        event, data = "", ""
        async with asyncio.timeout(seconds):
            async for raw in self.answer.content:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line.startswith("id: "):
                    self.last_id = line[4:]
                elif line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and event:
                    return event, json.loads(data)
        return None

    async def until(self, wanted: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next summary of that site."""
        async with asyncio.timeout(seconds):
            while found := await self.next(seconds):
                for site in found[1].get("sites", []):
                    if site["site"] == wanted:
                        return dict(site)
        raise AssertionError("the stream ended")


@asynccontextmanager
async def stream(person: Person, after: str = "", **headers: str) -> AsyncIterator[Stream]:
    url = f"{person.endpoint.url}/v1/events" + (f"?after={after}" if after else "")
    async with person.http.get(url, headers=person.headers(**headers)) as answer:
        yield Stream(answer)


async def overview(person: Person, wanted: str = "") -> dict[str, Any]:
    """The snapshot, once it holds the site."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found: dict[str, Any] = await (await person.ask("GET", "/v1/fleet/overview")).json()
        if not wanted or any(site["site"] == wanted for site in found["sites"]):
            return found
        assert time.monotonic() < deadline, "the site never came"
        await asyncio.sleep(0.1)


@pytest.fixture
async def node(endpoint: Endpoint, operator: EndpointClient, site: str) -> AsyncIterator[Device]:
    async with device(endpoint, operator, f"hw-{secrets.token_hex(4)}", site, "nuc-1") as one:
        await one.send("heartbeat", facts())
        await one.beat()
        yield one


async def test_what_is_reported_is_seen_within_a_moment(person: Person, node: Device, site: str) -> None:
    begun = await overview(person, site)
    async with stream(person, begun["id"]) as events:
        assert events.answer.headers["Content-Type"].startswith("text/event-stream")
        began = time.monotonic()
        await node.send("vessel", deployment("pos", "refused"))
        while (seen := await events.until(site))["apps"]["failed"] == 0:
            pass
        assert time.monotonic() - began < 2
        assert seen["rank"] >= 1000
        await node.send("synthetic", synthetic(step("menu", {2: 5}), step("mqtt", {}, failed=3)))
        while (seen := await events.until(site))["steps"] == 0:
            pass
        assert (seen["steps"], seen["failing"]) == (2, 1)
        await node.send("commander", alert("odd", "critical"), state("forming", "waits for a second node"))
        while (seen := await events.until(site))["alerts"][0] == 0:
            pass
        assert (seen["alerts"], seen["nodes"][0]["state"]) == ([1, 0, 0], "forming")


async def test_a_beat_travels_as_a_number(person: Person, node: Device, site: str) -> None:
    """One that comes late, on a busy machine, changes the site too: then the next one does not."""
    begun = await overview(person, site)
    async with stream(person, begun["id"]) as events:
        for number in range(5):
            await node.beat(up=90_000 + number)
            async with asyncio.timeout(PATIENCE):
                while (found := await events.next()) is not None and node.node not in found[1]["beats"]:
                    pass
            assert found is not None
            if site not in [one["site"] for one in found[1]["sites"]]:
                return
        raise AssertionError(f"each of five beats brought the whole site: {found}")


async def test_silence_is_told_without_any_message(person: Person, node: Device, site: str) -> None:
    begun = await overview(person, site)
    async with stream(person, begun["id"]) as events:
        await node.beat()
        began = time.monotonic()
        seen = []
        while not seen or seen[-1] != "silent":
            live = (await events.until(site, 20))["nodes"][0]["live"]
            seen += [live] if seen[-1:] != [live] else []
        assert seen[-2:] == ["late", "silent"]
        assert 12 < time.monotonic() - began < 12 + PATIENCE


async def test_a_reader_that_was_away_gets_what_it_missed_and_no_more(
    person: Person, operator: EndpointClient, node: Device, site: str
) -> None:
    other = f"{site}-other"
    await operator.put_site(other)
    begun = await overview(person, other)
    async with stream(person, begun["id"]) as events:
        await events.next()
        last = events.last_id
    await node.send("vessel", deployment("pos"), deployment("kds"))
    await asyncio.sleep(1)
    async with stream(person, begun["id"], Last_Event_ID=last) as events:
        found = await events.next()
        assert found is not None
        names = [one["site"] for one in found[1]["sites"]]
        assert site in names
        assert other not in names


@pytest.mark.parametrize("after", ["00000000.1", "rubbish", "1", "00000000.99999999999999999999"])
async def test_one_who_has_an_unknown_place_is_told_to_start_anew(person: Person, after: str) -> None:
    async with stream(person, after) as events:
        assert await events.next() == ("resync", {})
        assert await events.next() is None


async def test_the_line_is_kept_alive(person: Person) -> None:
    async with stream(person) as events:
        async with asyncio.timeout(PATIENCE):
            while events.comments < 2:
                with contextlib.suppress(TimeoutError):  # sites of other tests fall silent meanwhile: events come too
                    await events.next(1.5)


async def test_open_streams_are_bounded_and_a_place_is_given_back(person: Person) -> None:
    await asyncio.sleep(1.5)  # those of earlier tests give their places back
    async with stream(person) as first, stream(person) as second, stream(person) as third:
        assert {first.status, second.status, third.status} == {200}
        async with stream(person) as fourth:
            assert (fourth.status, fourth.answer.headers["Retry-After"]) == (503, "10")
    async with asyncio.timeout(PATIENCE):
        while True:
            async with stream(person) as again:
                if again.status == 200:
                    return
            await asyncio.sleep(0.2)


async def test_logout_and_revocation_end_the_stream_within_five_seconds(
    person: Person, stranger: Person, operator: EndpointClient, endpoint: Endpoint
) -> None:
    name, key = await new_operator(operator, f"di-{secrets.token_hex(3)}", ["fleet:read"])
    theirs = Person(endpoint, person.http)
    async with endpoint.client(f"op:{name}", key) as client:
        await theirs.login(await link(client))
    async with stream(person) as mine, stream(theirs) as hers:
        assert (mine.status, hers.status) == (200, 200)
        assert (await person.write("/logout")).status == 200
        await operator.call("POST", f"/v1/admin/operators/{name}/revoke")
        async with asyncio.timeout(5):
            while await mine.next(5):
                pass
            while await hers.next(5):
                pass


async def test_scripts_read_the_stream_with_a_token(
    stranger: Person, operator: EndpointClient, endpoint: Endpoint
) -> None:
    token = await operator.login("fleet:read")
    async with stranger.http.get(f"{endpoint.url}/v1/events", headers={"Authorization": f"Bearer {token}"}) as answer:
        found = await Stream(answer).next()
        assert found is not None
        assert found[0] == "change"


async def test_the_detail_of_a_site(person: Person, endpoint: Endpoint, node: Device, site: str) -> None:
    endpoint.store_atlas(site, {"url": "https://bot:hunter2@git.example/atlas.git"})
    await node.send("vessel", deployment("pos", subject="<script>alert(1)</script>"))
    await node.skip("heartbeat", 7)
    text = await (await person.ask("GET", f"/v1/fleet/overview/{site}")).text()
    assert "hunter2" not in text
    found = json.loads(text)
    assert found["atlas"]["url"] == "https://git.example/atlas.git"
    assert found["apps"][0]["subject"] == "<script>alert(1)</script>"
    assert (found["gaps"][0]["first"], found["gaps"][0]["last"]) == (3, 9)
    assert found["nodes"][0]["health"]["bad"] == []
    assert found["nodes"][0]["interval"] == 2.0
    assert (await person.ask("GET", "/v1/fleet/overview/store-77777")).status == 404


async def test_a_stream_too_far_behind_is_told_so(tmp_path: Path) -> None:
    clock = SystemClock()
    store = await SqliteStore.open(tmp_path / "store.db", clock.wall_ms)
    stopping = asyncio.Event()
    hub = Hub(store, clock, structlog.get_logger(), interval=2.0, frame_seconds=0.01)
    task = asyncio.create_task(hub.run(Pulse("page", clock, stopping)))
    try:
        await asyncio.wait_for(hub.ready.wait(), PATIENCE)
        for n in range(FRAMES + 2):
            version = hub.view.version
            await store.write(lambda tx, n=n: sites.put(tx, f"store-{n}", {}, None))  # type: ignore[misc]
            frame = await hub.after(version, PATIENCE)
            assert frame is not None
            assert f"store-{n}" in frame.sites
        with pytest.raises(Behind):
            await hub.after(1, 0.1)
        assert await hub.after(hub.view.version, 0.05) is None
        assert len(hub.view) == FRAMES + 2
    finally:
        stopping.set()
        await asyncio.wait_for(task, PATIENCE)
        await store.aclose()
