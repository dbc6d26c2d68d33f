"""Each node's state and reason, since when, as the page reads them: also when the reason alone changes."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.page.conftest import Person
from tests.integration.page.test_page_events import overview, stream
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.reports import Device, device, state

HOUR_MS = 3_600_000


@pytest.fixture
async def node(endpoint: Endpoint, operator: EndpointClient, site: str) -> AsyncIterator[Device]:
    async with device(endpoint, operator, f"hw-{secrets.token_hex(4)}", site, "nuc-1") as one:
        await one.beat()
        yield one


async def shown(person: Person, site: str) -> dict[str, Any]:
    """The one node of the site's view."""
    detail = await (await person.ask("GET", f"/v1/fleet/overview/{site}")).json()
    return dict(detail["nodes"][0])


async def test_the_page_has_state_reason_and_since(person: Person, node: Device, site: str) -> None:
    since = int(time.time() * 1000) - HOUR_MS
    assert (await shown(person, site))["state_since"] is None
    await node.send("commander", state("forming", "waiting: siblings: 2 of 3") | {"since": since})
    found = await shown(person, site)
    assert (found["state"], found["state_reason"], found["state_since"]) == (
        "forming",
        "waiting: siblings: 2 of 3",
        since,
    )


async def test_another_reason_alone_has_the_open_page_read_again(person: Person, node: Device, site: str) -> None:
    await node.send("commander", state("forming", "waiting: siblings"))
    begun = await overview(person, site)
    before = next(one["v"] for one in begun["sites"] if one["site"] == site)
    async with stream(person, begun["id"]) as events:
        await node.send("commander", state("forming", "waiting: turn"))
        while (await events.until(site))["v"] <= before:
            pass
        assert (await shown(person, site))["state_reason"] == "waiting: turn"


async def test_a_node_with_a_wrong_clock_is_not_asked_since_when(person: Person, node: Device, site: str) -> None:
    for reason, since in (("waiting: clock: it is 1970 here", 1000), ("", int(time.time() * 1000) + HOUR_MS)):
        began = int(time.time() * 1000) - 5000
        await node.send("commander", state("forming", reason) | {"since": since})
        assert began < (await shown(person, site))["state_since"] <= int(time.time() * 1000) + 5000


async def test_markup_in_a_reason_is_text_to_the_page(person: Person, node: Device, site: str) -> None:
    """It travels as JSON, and the assets make text nodes of it alone."""
    evil = "<img src=x onerror=alert(1)>"
    await node.send("commander", state("forming", evil))
    answer = await person.ask("GET", f"/v1/fleet/overview/{site}")
    assert answer.content_type == "application/json" and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await shown(person, site))["state_reason"] == evil
    card = await (await person.ask("GET", "/assets/site_node.js")).text()
    assert 'h("span", { class: "reason" }, node.state_reason)' in card
    for name in ("site_node.js", "dom.js", "times.js", "words.js", "view_fleet.js"):
        text = await (await person.ask("GET", f"/assets/{name}")).text()
        assert not any(word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"))
