"""The grant of `cluster-init` by the real endpoint: fifty at once, kill -9 after the answer, who may ask and raise."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.election import InitAsk
from agents.core.errors import Rejected
from agents.core.jose import SoftwareKey
from agents.core.settings import EndpointSettings
from agents.io.clock import SystemClock
from agents.io.tls import client_context
from edge_commander.cloud import BearerRefused, Cloud
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SCOPE = "command:read"


@contextlib.asynccontextmanager
async def nodes(
    endpoint: Endpoint, operator: EndpointClient, site: str, count: int
) -> AsyncIterator[list[EndpointClient]]:
    """Enrolled devices of the site."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(count):
            hardware = f"grant-{site}-{number}"
            code = await operator.ship(hardware, site, f"node-{number}")
            client = await stack.enter_async_context(endpoint.client("", SoftwareKey.generate(), keep_alive=True))
            assert (await client.enrol(hardware, code))[0] == 200
            await client.login(SCOPE)
            found.append(client)
        yield found


async def ask(client: EndpointClient, epoch: int = 1, **more: Any) -> Any:
    return await client.call("POST", "/v1/init-grant", {"v": 1, "epoch": epoch, **more}, scope=SCOPE)


async def test_fifty_at_once_have_one_holder(endpoint: Endpoint, operator: EndpointClient, site: str) -> None:
    async with nodes(endpoint, operator, site, 5) as clients:
        answers = await asyncio.gather(*(ask(clients[n % 5]) for n in range(50)))
        holder = {one["node"] for one in answers}
        assert len(holder) == 1 and sum(one["yours"] for one in answers) == 10
        assert holder <= {one.name for one in clients}
        view = await operator.call("GET", f"/v1/fleet/sites/{site}")
        assert [(one["epoch"], one["node"]) for one in view["grants"]] == [(1, holder.pop())]


async def test_killed_right_after_the_answer_it_keeps_the_holder(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path, limits={"source_rate": 1000, "source_burst": 5000})
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator:
            for number in range(3):
                site = f"store-{number}"
                await operator.put_site(site)
                async with nodes(endpoint, operator, site, 3) as clients:
                    first = asyncio.ensure_future(ask(clients[number]))
                    others = [asyncio.ensure_future(ask(one)) for one in clients if one is not clients[number]]
                    said = await first
                    endpoint.program.kill()
                    await asyncio.gather(*others, return_exceptions=True)
                    await asyncio.to_thread(endpoint.start)
                    for client in clients:
                        again = await ask(client)
                        assert again["node"] == said["node"]
                        assert again["granted_ms"] == said["granted_ms"]
                        assert again["yours"] == (client.name == said["node"])
    finally:
        await asyncio.to_thread(endpoint.stop)


async def test_who_may_ask_and_what_for(endpoint: Endpoint, operator: EndpointClient, site: str) -> None:
    async with nodes(endpoint, operator, site, 2) as (one, two):
        await one.login("heartbeat:write")
        wrong = await one.call("POST", "/v1/init-grant", {"epoch": 1}, scope="heartbeat:write", ok=False)
        assert wrong[0] == 403
        assert (await operator.call("POST", "/v1/init-grant", {"epoch": 1}, ok=False))[0] == 403
        assert (await one.call("POST", "/v1/init-grant", {"epoch": 0}, scope=SCOPE, ok=False))[0] == 400
        status, body = await one.call("POST", "/v1/init-grant", {"epoch": 2}, scope=SCOPE, ok=False)
        assert status == 409 and "the site's epoch is 1, and not 2" in body["detail"]
        assert (await ask(one, want=False))["node"] is None
        assert (await ask(two))["node"] == two.name

        changed = await operator.call("PUT", f"/v1/admin/sites/{site}/epoch", {"to": 2, "election": "offline"})
        assert (changed["epoch"], changed["election"]) == (2, "offline")
        status, body = await one.call("POST", "/v1/init-grant", {"epoch": 2}, scope=SCOPE, ok=False)
        assert status == 409 and "offline" in body["detail"]
        document = await one.call("GET", "/v1/site", scope=SCOPE)
        assert [voter["node"] for voter in document["voters"]] == sorted([one.name, two.name])
        status, _ = await operator.call("PUT", f"/v1/admin/sites/{site}/epoch", {"to": 4}, ok=False)
        assert status == 409
        assert (await one.call("PUT", f"/v1/admin/sites/{site}/epoch", {"to": 3}, scope=SCOPE, ok=False))[0] == 403


async def test_the_commanders_client_asks(endpoint: Endpoint, operator: EndpointClient, site: str) -> None:
    async with nodes(endpoint, operator, site, 2) as (one, two):
        settings = EndpointSettings(urls=[endpoint.url], issuer=endpoint.issuer, ca_file=str(endpoint.ca_file))
        cloud = Cloud(settings, client_context(settings), SystemClock(), lambda ms: None)
        try:
            assert (await cloud.init_grant(one.tokens[SCOPE], InitAsk(epoch=1, want=False))).node is None
            mine = await cloud.init_grant(one.tokens[SCOPE], InitAsk(epoch=1))
            assert (mine.site, mine.node, mine.yours) == (site, one.name, True)
            assert (await cloud.init_grant(one.tokens[SCOPE], InitAsk(epoch=1))) == mine
            theirs = await cloud.init_grant(two.tokens[SCOPE], InitAsk(epoch=1))
            assert (theirs.node, theirs.yours) == (one.name, False)
            with pytest.raises(Rejected, match="epoch is 1, and not 7"):
                await cloud.init_grant(one.tokens[SCOPE], InitAsk(epoch=7))
            with pytest.raises(BearerRefused):
                await cloud.init_grant("no.such.token", InitAsk(epoch=1))
        finally:
            await cloud.aclose()
