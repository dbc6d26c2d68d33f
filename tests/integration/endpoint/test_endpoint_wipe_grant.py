"""The grant of a wipe by the real endpoint: one a site at a time, the quorum, kill -9, who may ask and give back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from agents.contracts.codec import encode
from agents.contracts.command import Command, Verb
from agents.core.command_verify import sign_command
from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SCOPE, BEATS = "command:read", "heartbeat:write"


async def say(device: EndpointClient, *bodies: dict[str, Any], scope: str = SCOPE) -> None:
    """Messages of one run of the device's."""
    messages = [{"seq": n, "t": int(time.time() * 1000), "m": body} for n, body in enumerate(bodies, 1)]
    stream = "heartbeat" if scope == BEATS else "commander"
    batch = {"v": 1, "stream": stream, "run": secrets.token_hex(8), "messages": messages}
    assert (await device.call("POST", "/v1/ingest", batch, scope=scope))["rejected"] == []


async def ready(device: EndpointClient, state: str = "ready") -> None:
    await say(device, {"kind": "beat", "boot": "01234567", "up": 1, "ok": 1}, scope=BEATS)
    await say(device, {"kind": "state", "state": state, "reason": "", "since": 1})


@contextlib.asynccontextmanager
async def servers(endpoint: Endpoint, operator: EndpointClient, site: str) -> AsyncIterator[list[EndpointClient]]:
    """Three enrolled devices that are ready."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(3):
            hardware = f"wipe-{site}-{number}"
            code = await operator.ship(hardware, site, f"node-{number}")
            client = await stack.enter_async_context(endpoint.client("", SoftwareKey.generate()))
            assert (await client.enrol(hardware, code))[0] == 200
            await ready(client)
            found.append(client)
        yield found


async def wipe(endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, **args: str) -> str:
    """An operator's wipe for the device; the command's id."""
    challenge = secrets.token_urlsafe(16)
    await say(device, {"kind": "challenge", "challenge": challenge, "expires": int(time.time()) + 3600})
    following = await operator.call("GET", f"/v1/nodes/{device.name}/next-command")
    now = int(time.time())
    command = Command(
        id=secrets.token_hex(16), verb=Verb.WIPE, site=following["site"], node=device.name,
        sequence=following["sequence"], challenge=challenge, issued=now, expires=now + 600, targets=["var"], args=args,
    )  # fmt: skip
    signed = sign_command(command, [endpoint.key(endpoint.command_key_file)])
    await operator.call("POST", f"/v1/nodes/{device.name}/commands", json.loads(encode(signed)))
    return command.id


async def ask(device: EndpointClient, command: str) -> Any:
    return await device.call("POST", "/v1/wipe-grant", {"v": 1, "command_id": command}, scope=SCOPE)


async def answer(device: EndpointClient, command: str) -> None:
    await say(
        device, {"kind": "command-result", "command_id": command, "verb": "wipe", "outcome": "done", "detail": ""}
    )


async def test_one_at_a_time_and_the_next_when_the_first_is_ready_again(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    async with servers(endpoint, operator, site) as (a, b, _):
        first, second = await wipe(endpoint, operator, a), await wipe(endpoint, operator, b)
        said = await asyncio.gather(*(ask(a, first) for _ in range(5)))
        assert said == [{"v": 1, "granted": True, "holder": a.name, "why": ""}] * 5
        held = await ask(b, second)
        assert (held["granted"], held["holder"]) == (False, a.name) and "is being wiped" in held["why"]
        view = await operator.call("GET", f"/v1/fleet/sites/{site}")
        assert (view["wipe_grant"]["node"], view["wipe_grant"]["command_id"]) == (a.name, first)
        await answer(a, first)
        assert "quorum" in (await ask(b, second))["why"]
        await ready(a, "forming")
        assert "node-0 is forming" in (await ask(b, second))["why"]
        await ready(a)
        assert (await ask(b, second))["granted"]
        trail = await operator.call("GET", "/v1/admin/audit?limit=100")
        mine = [(one["action"], one["actor"], one["outcome"]) for one in reversed(trail) if one["target"] == site]
        assert [one for one in mine if one[0].startswith("wipe grant")] == [
            ("wipe grant", a.name, "done"), ("wipe grant", b.name, "refused"), ("wipe grant back", a.name, "done"),
            ("wipe grant", b.name, "refused"), ("wipe grant", b.name, "refused"), ("wipe grant", b.name, "done"),
        ]  # fmt: skip


async def test_a_member_that_is_down_holds_it_up_but_not_a_signed_rebuild(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    async with servers(endpoint, operator, site) as (a, _, c):
        await ready(c, "assigned")
        refused = await ask(a, await wipe(endpoint, operator, a))
        assert not refused["granted"] and refused["holder"] == ""
        assert "of 3 server(s) 2 must be up, and without this node 1 would be (node-2 is assigned)" in refused["why"]
        assert (await ask(a, await wipe(endpoint, operator, a, rebuild="yes")))["granted"]


async def test_only_the_node_itself_may_ask(endpoint: Endpoint, operator: EndpointClient, site: str) -> None:
    async with servers(endpoint, operator, site) as (a, b, _):
        command = await wipe(endpoint, operator, a)
        assert (await ask(b, command))["why"] == "this endpoint has no such command for this node"
        body = {"command_id": command}
        assert (await a.call("POST", "/v1/wipe-grant", body, scope=BEATS, ok=False))[0] == 403
        assert (await operator.call("POST", "/v1/wipe-grant", body, ok=False))[0] == 403
        assert (await a.request("POST", "/v1/wipe-grant", json=body))[0] == 401
        for wrong in ({}, {"command_id": "x"}, {"v": 2, "command_id": command}):
            assert (await a.call("POST", "/v1/wipe-grant", wrong, scope=SCOPE, ok=False))[0] == 400
        release = f"/v1/admin/sites/{site}/wipe-release"
        assert (await a.call("POST", release, scope=SCOPE, ok=False))[0] == 403
        assert (await operator.call("POST", release)) == {"changed": False}


async def test_killed_right_after_the_answer_it_keeps_the_holder_and_an_operator_gives_it_back(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path / "endpoint", limits={"source_rate": 1000, "source_burst": 5000})
    await asyncio.to_thread(endpoint.start)
    profile = tmp_path / "profile.yaml"
    values = {
        "url": endpoint.url, "issuer": endpoint.issuer, "ca_file": str(endpoint.ca_file), "operator": "demo",
        "key_file": str(endpoint.operator_key_file),
    }  # fmt: skip
    profile.write_text(yaml.safe_dump(values))
    galley = [sys.executable, "-m", "cloud_endpoint.cli", "--profile", profile, "site", "wipe-release", "store-1"]
    galley += ["--output", "json"]
    try:
        async with endpoint.operator() as operator:
            await operator.put_site("store-1")
            async with servers(endpoint, operator, "store-1") as (a, b, _):
                first, second = await wipe(endpoint, operator, a), await wipe(endpoint, operator, b)
                assert (await ask(a, first))["granted"]
                endpoint.program.kill()
                await asyncio.to_thread(endpoint.start)
                for client in (a, b, operator):
                    client.tokens.clear()
                assert (await ask(b, second))["holder"] == a.name
                assert (await ask(a, first))["granted"]
                done = await asyncio.to_thread(
                    subprocess.run,
                    galley,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=True,
                )
                assert json.loads(done.stdout) == {"changed": True}
                line = (await operator.call("GET", "/v1/admin/audit?limit=1"))[0]
                assert (line["actor"], line["action"], line["target"]) == ("op:demo", "wipe grant release", "store-1")
                assert a.name in line["detail"] and first in line["detail"]
                assert (await ask(b, second))["granted"]
    finally:
        await asyncio.to_thread(endpoint.stop)
