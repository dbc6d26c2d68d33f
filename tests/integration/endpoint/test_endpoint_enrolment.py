"""Enrolment at the real endpoint: who gets in, who waits, who is turned away, and what an operator sees of it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


async def enrol(endpoint: Endpoint, hardware: str, code: str = "", **changes: Any) -> tuple[int, Any]:
    async with endpoint.client("", SoftwareKey.generate()) as client:
        body = {**client.enrol_request(hardware, SoftwareKey.generate(), code), **changes}
        return await client.request("POST", "/v1/enrol", json=body)


async def test_the_same_keys_may_ask_again(device: EndpointClient, operator: EndpointClient, site: str) -> None:
    hardware = "again-" + site
    code = await operator.ship(hardware, site, "node-2")
    sealing = SoftwareKey.generate()
    first = await device.enrol(hardware, code, sealing)
    generation = (await operator.call("GET", f"/v1/fleet/sites/{site}"))["site"]["generation"]
    second = await device.enrol(hardware, "", sealing)
    assert first[0] == second[0] == 200
    assert first[1]["node"] == second[1]["node"]
    assert (await operator.call("GET", f"/v1/fleet/sites/{site}"))["site"]["generation"] == generation


async def test_a_code_serves_one_device_even_when_two_ask_at_once(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware = "race-" + site
    code = await operator.ship(hardware, site, "node-1")
    answers = await asyncio.gather(*(enrol(endpoint, hardware, code) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403, 403, 403]
    assert {body["status"] for status, body in answers if status == 403} == {"quarantined"}


async def test_a_second_key_is_quarantined_and_the_enrolled_node_works_on(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware = "clone-" + site
    code = await operator.ship(hardware, site, "node-1")
    async with endpoint.client("", SoftwareKey.generate()) as good:
        assert (await good.enrol(hardware, code))[0] == 200
        status, body = await enrol(endpoint, hardware, code)
        assert (status, body["status"], body["site"]) == (403, "quarantined", None)
        assert (await good.call("GET", "/v1/site", scope="deploy:report"))["node"] == good.name
        alerts = await operator.call("GET", f"/v1/fleet/alerts?site={site}")
        assert [one["code"] for one in alerts] == ["second-key"]
        waiting = await operator.call("GET", "/v1/admin/enrolments")
        assert [one["status"] for one in waiting if one["node"] == good.name] == ["quarantined"]


async def test_an_unknown_device_waits_until_a_person_says_yes(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware, sealing = "unknown-" + site, SoftwareKey.generate()
    async with endpoint.client("", SoftwareKey.generate()) as device:
        status, body = await device.enrol(hardware, "", sealing)
        assert (status, body["status"]) == (202, "pending")
        assert (await device.token("heartbeat:write"))[0] == 401
        waiting = await operator.call("GET", "/v1/admin/enrolments")
        number = next(one["id"] for one in waiting if one["node"] == device.name)
        path = f"/v1/admin/enrolments/{number}/approve"
        status, body = await operator.call("POST", path, {}, ok=False)
        assert (status, "site and name" in body["detail"]) == (409, True)
        await operator.call("POST", path, {"site": site, "name": "node-9"})
        status, body = await device.enrol(hardware, "", sealing)
        assert (status, body["site"]) == (200, site)
        assert (await device.call("GET", "/v1/site", scope="heartbeat:write"))["roster"][0]["name"] == "node-9"
    actions = {one["action"] for one in await operator.call("GET", "/v1/admin/audit")}
    assert "device approve" in actions


async def test_a_refused_device_stays_refused_and_gets_nothing(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware, sealing = "refused-" + site, SoftwareKey.generate()
    async with endpoint.client("", SoftwareKey.generate()) as device:
        await device.enrol(hardware, "", sealing)
        waiting = await operator.call("GET", "/v1/admin/enrolments")
        number = next(one["id"] for one in waiting if one["node"] == device.name)
        await operator.call("POST", f"/v1/admin/enrolments/{number}/refuse")
        status, body = await device.enrol(hardware, "", sealing)
        assert (status, body["status"]) == (403, "refused")
        code = await operator.ship(hardware, site, "node-1")
        assert (await device.enrol(hardware, code, sealing))[0] == 403


async def test_a_wrong_code_is_refused_and_ten_of_them_end_the_code(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware = "guess-" + site
    code = await operator.ship(hardware, site, "node-1")
    for _ in range(10):
        status, body = await enrol(endpoint, hardware, "wrong-code-wrong")
        assert (status, body["status"], body["reason"]) == (403, "refused", "the one-time code is wrong")
    status, body = await enrol(endpoint, hardware, code)
    assert (status, body["status"]) == (202, "pending")


async def test_approving_a_replacement_ends_the_old_key(
    endpoint: Endpoint, operator: EndpointClient, site: str
) -> None:
    hardware, sealing = "replaced-" + site, SoftwareKey.generate()
    code = await operator.ship(hardware, site, "node-1")
    async with (
        endpoint.client("", SoftwareKey.generate()) as old,
        endpoint.client("", SoftwareKey.generate()) as new,
    ):
        await old.enrol(hardware, code)
        await old.call("GET", "/v1/site", scope="heartbeat:write")
        await new.enrol(hardware, "", sealing)
        waiting = await operator.call("GET", "/v1/admin/enrolments")
        number = next(one["id"] for one in waiting if one["node"] == new.name)
        path = f"/v1/admin/enrolments/{number}/approve"
        for other, named in (({"site": "store-99999"}, site), ({"site": site, "name": "node-2"}, "node-1")):
            status, body = await operator.call("POST", path, other, ok=False)
            assert (status, f"the shipping list says '{named}'" in body["detail"]) == (409, True)
        assert (await old.token("heartbeat:write"))[0] == 200
        await operator.call("POST", path, {"site": site})
        assert (await new.enrol(hardware, "", sealing))[0] == 200
        assert (await new.call("GET", "/v1/site", scope="heartbeat:write"))["node"] == old.name
        assert (await old.call("GET", "/v1/site", scope="heartbeat:write", ok=False))[0] == 401
        assert (await old.token("heartbeat:write"))[0] == 401


BAD = {
    "no proof": ({"proof": "x"}, 401, "$.proof"),
    "blank id": ({"hardware_id": "  "}, 400, "$.hardware_id"),
    "no id": ({"hardware_id": ""}, 400, "$.hardware_id"),
    "a symmetric key": ({"signing": {"kty": "oct", "k": "aaaa"}}, 400, "$.signing"),
    "an Ed25519 key": ({"signing": SoftwareKey.generate("Ed25519").public}, 400, "$.signing"),
    "a point off the curve": ({"sealing": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}, 400, "$.sealing"),
    "another sealing key": ({"sealing": SoftwareKey.generate().public}, 401, "sealing"),
    "another signing key": ({"signing": SoftwareKey.generate().public}, 401, "kid"),
    "another hardware id": ({"hardware_id": "not-mine"}, 401, "hardware_id"),
    "a list": ({"signing": []}, 400, "$.signing"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_named_and_leaves_no_trace(
    endpoint: Endpoint, operator: EndpointClient, site: str, name: str
) -> None:
    changes, expected, cause = BAD[name]
    before = await operator.call("GET", "/v1/admin/enrolments")
    status, body = await enrol(endpoint, f"bad-{secrets.token_hex(4)}", **changes)
    assert status == expected, body
    assert cause in body["detail"]
    assert await operator.call("GET", "/v1/admin/enrolments") == before


async def test_a_private_key_is_never_taken(endpoint: Endpoint) -> None:
    status, body = await enrol(endpoint, "leaks", signing=SoftwareKey.generate().private())
    assert (status, "private key" in body["detail"]) == (400, True)
    assert "'d'" not in endpoint.program.log_tail(50)
