"""Diagnostics bundles at a real endpoint: what a device may send, what is refused, and who may fetch it."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

DATA = bytes(range(256)) * 1000
SCOPE = "command:read"


async def asked(operator: EndpointClient, device: EndpointClient) -> str:
    """The device publishes a challenge, and the endpoint asks it for a bundle; the command's id."""
    challenge = {"kind": "challenge", "v": 1, "challenge": "c" * 22, "expires": int(time.time()) + 3600}
    batch = {"v": 1, "stream": "commander", "run": "0" * 16, "dropped": [],
             "messages": [{"seq": 1, "t": int(time.time() * 1000), "m": challenge}]}  # fmt: skip
    await device.call("POST", "/v1/ingest", batch, scope=SCOPE)
    body = {"verb": "collect-diagnostics"}
    return str((await operator.call("POST", f"/v1/nodes/{device.name}/requests", body))["command_id"])


async def put(device: EndpointClient, number: int, offset: Any, piece: bytes, sha256: str | None = None) -> Any:
    digest = sha256 or hashlib.sha256(piece).hexdigest()
    token = device.tokens.get(SCOPE) or await device.login(SCOPE)
    path = f"/v1/diagnostics/{number}?offset={offset}&sha256={digest}"
    return await device.request("PUT", path, token=token, data=piece)


async def test_a_bundle_is_sent_refused_where_it_is_wrong_and_fetched_by_an_admin(
    endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, site: str
) -> None:
    command = await asked(operator, device)
    what = {"v": 1, "command_id": command, "size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    state = await device.call("POST", "/v1/diagnostics", what, scope=SCOPE)
    number = state["id"]
    assert (state["offset"], state["whole"]) == (0, False)
    unasked = {**what, "command_id": "f" * 32}
    status, answer = await device.call("POST", "/v1/diagnostics", unasked, scope=SCOPE, ok=False)
    assert status == 409 and "no bundle was asked" in answer["detail"]
    status, answer = await device.call("POST", "/v1/diagnostics", {**what, "size": 0}, scope=SCOPE, ok=False)
    assert status == 400 and "size" in answer["detail"]

    status, answer = await put(device, number, 0, DATA[:1000], "a" * 64)
    assert status == 400 and "broken on the way" in answer["detail"]
    assert (await put(device, number, -1, DATA[:1000]))[0] == 400
    assert (await put(device, number + 1000, 0, DATA[:1000]))[0] == 409
    assert (await put(device, number, 0, b"x" * (256 * 1024 + 1)))[0] == 413
    status, answer = await put(device, number, 0, DATA[:200_000])
    assert (status, answer["offset"]) == (200, 200_000)
    assert (await put(device, number, 200_000, DATA))[0] == 422, "past its end"
    assert (await device.call("GET", f"/v1/diagnostics/{number}", scope=SCOPE))["offset"] == 200_000
    listing = f"/v1/admin/nodes/{device.name}/diagnostics"
    fetching = f"{listing}/{number}"
    assert (await operator.call("GET", fetching, ok=False))[0] == 404, "not whole yet"
    status, answer = await put(device, number, 200_000, DATA[200_000:])
    assert status == 200 and answer["whole"]

    assert await operator.call("GET", fetching) == DATA
    assert [one["received"] for one in await operator.call("GET", listing)] == [len(DATA)]
    trail = await operator.call("GET", "/v1/admin/audit?limit=50")
    assert [one["actor"] for one in trail if one["action"] == "diagnostics fetch"] == ["op:demo"]


async def test_another_device_and_people_of_another_site_get_nothing_of_it(
    endpoint: Endpoint, operator: EndpointClient, device: EndpointClient, site: str
) -> None:
    command = await asked(operator, device)
    what = {"v": 1, "command_id": command, "size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    number = (await device.call("POST", "/v1/diagnostics", what, scope=SCOPE))["id"]
    await put(device, number, 0, DATA)
    code = await operator.ship(f"hw-other-{site}", site, "node-2")
    async with endpoint.client("", SoftwareKey.generate()) as other:
        await other.enrol(f"hw-other-{site}", code)
        assert (await other.call("POST", "/v1/diagnostics", what, scope=SCOPE, ok=False))[0] == 409
        assert (await other.call("GET", f"/v1/diagnostics/{number}", scope=SCOPE, ok=False))[0] == 409
        assert (await put(other, number, 0, DATA))[0] == 409
        path = f"/v1/admin/nodes/{device.name}/diagnostics/{number}"
        assert (await other.call("GET", path, scope=SCOPE, ok=False))[0] == 403
    key = SoftwareKey.generate()
    await operator.put_site(f"{site}-x")
    person = {"name": f"bob-{site}", "key": key.public, "scopes": ["admin"], "site": f"{site}-x"}
    await operator.call("POST", "/v1/admin/operators", person)
    async with endpoint.client(f"op:bob-{site}", key) as bob:
        assert (await bob.call("GET", path, ok=False))[0] == 403
        assert (await bob.call("GET", path.rpartition("/")[0], ok=False))[0] == 403
