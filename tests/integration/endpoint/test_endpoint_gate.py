"""The gate of the real endpoint: every route of the table with no login, with each role, and at its limits."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sqlite3
import ssl
import time
from pathlib import Path

import pytest

from agents.contracts.identity import ROLE_SCOPES, Role
from agents.core.jose import SoftwareKey
from cloud_endpoint.route import Route, allows
from cloud_endpoint.routes import ROUTES
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


def path_of(route: Route, node: str, site: str) -> str:
    values = {"node": node, "site": site, "id": "1", "name": "x"}
    return re.sub(r"{(\w+)}", lambda match: values[match[1]], route.path)


async def test_no_route_answers_without_a_login(device: EndpointClient, site: str) -> None:
    closed = [route for route in ROUTES if route.scopes]
    assert len(closed) > 30
    for route in closed:
        path = path_of(route, device.name, site)
        for headers in ({}, {"Cookie": "__Host-galley=stolen"}, {"Authorization": "Bearer x.y.z"}):
            async with device.session.request(
                route.method, device.endpoint.url + path, headers=headers, allow_redirects=False
            ) as answer:
                if route.path == "/":  # the page sends people to its login
                    assert answer.status in (302, 303, 401), path
                else:
                    assert answer.status == 401, (route.method, path, answer.status)
                    assert answer.content_type == "application/problem+json"


async def test_each_role_gets_403_everywhere_but_on_its_own_routes(device: EndpointClient, site: str) -> None:
    for role in Role:
        token = await device.login(" ".join(ROLE_SCOPES[role]))
        for route in ROUTES:
            if not route.scopes or allows(route, ROLE_SCOPES[role]):
                continue
            status, body = await device.request(route.method, path_of(route, device.name, site), token=token)
            assert (status, "needs the scope" in body["detail"]) == (403, True), (role, route.method, route.path)


async def test_unknown_paths_methods_and_nodes_are_problems(device: EndpointClient, operator: EndpointClient) -> None:
    status, body = await device.request("GET", "/v1/nothing")
    assert (status, body["title"]) == (404, "Not Found")
    status, body = await device.request("DELETE", "/v1/ingest")
    assert (status, body["title"]) == (405, "Method Not Allowed")
    for node in ("n-aaaaaaaaaaaaaaaa", "n-..", "%00", "x" * 500):
        assert (await operator.call("GET", f"/v1/nodes/{node}/commands", ok=False))[0] == 404
    assert (await operator.call("PUT", "/v1/admin/sites/UPPER", {}, ok=False))[0] == 404
    assert (await operator.call("PUT", "/v1/admin/sites/good", {"colour": 1}, ok=False))[0] == 400
    assert (await operator.call("GET", "/v1/admin/audit?limit=0", ok=False))[0] == 400
    assert (await operator.call("POST", "/v1/admin/enrolments/999999/approve", {}, ok=False))[0] == 409


async def test_health_says_no_more_than_that_it_lives(device: EndpointClient) -> None:
    assert await device.request("GET", "/healthz") == (200, {"status": "ok"})


async def test_the_echo_gives_the_same_bytes(device: EndpointClient) -> None:
    token = await device.login("synthetic:write")
    data = bytes(range(256)) * 16
    assert await device.request("POST", "/v1/echo", token=token, data=data) == (200, data)
    assert (await device.request("POST", "/v1/echo", token=token, data=b"x" * 70_000))[0] == 413


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64, 10**30])
async def test_a_number_beyond_what_the_store_takes_is_refused(
    device: EndpointClient, operator: EndpointClient, site: str, number: int
) -> None:
    for path in (f"/v1/fleet/sites/{site}/history?kind=beat&before=", "/v1/admin/audit?before="):
        status, body = await operator.call("GET", f"{path}{number}", ok=False)
        assert (status, "$.before" in body["detail"]) == (400, True), (path, body)
        assert (await operator.call("GET", f"{path}{2**53 - 1}", ok=False))[0] == 200
    status, body = await device.call("GET", f"/v1/commands?after={number}", scope="command:read", ok=False)
    assert (status, "$.after" in body["detail"]) == (400, True)
    assert (await operator.call("POST", f"/v1/admin/enrolments/{number}/refuse", ok=False))[0] in (400, 404, 409)


async def test_a_narrow_token_cannot_grow_by_a_login_link(operator: EndpointClient) -> None:
    status, body = await operator.call("POST", "/v1/admin/login-link", scope="fleet:read", ok=False)
    assert (status, "all of the operator's scopes" in body["detail"]) == (403, True)
    assert "/login?code=" in (await operator.call("POST", "/v1/admin/login-link"))["url"]


async def test_old_tls_and_plain_http_are_refused(endpoint: Endpoint) -> None:
    def plain() -> bytes:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=5) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return raw.recv(100)

    def old() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection((endpoint.host, endpoint.port), timeout=5) as raw, context.wrap_socket(raw):
            pass

    with contextlib.suppress(ConnectionError):
        assert b"200" not in await asyncio.to_thread(plain)
    with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(old)


async def test_git_credentials_come_from_a_private_file_and_follow_its_rotation(tmp_path: Path) -> None:
    file = tmp_path / "git.json"
    file.write_text('{"v":1,"default":{"host":"git.test","username":"u","password":"first"}}')
    file.chmod(0o600)
    endpoint = Endpoint(
        tmp_path / "endpoint", git={"credential_file": str(file)}, limits={"source_rate": 0.001, "source_burst": 12}
    )
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator, endpoint.client("", SoftwareKey.generate()) as device:
            await operator.put_site("store-1")
            await device.enrol("hw", await operator.ship("hw", "store-1", "node-1"))
            token = await device.login("deploy:report")
            got = await device.call("GET", "/v1/git-credential", scope="deploy:report")
            assert got == {"host": "git.test", "username": "u", "password": "first", "expires_in": 600}
            file.write_text('{"sites":{"store-1":{"host":"git.test","username":"u","password":"second"}}}')
            assert (await device.call("GET", "/v1/git-credential", scope="deploy:report"))["password"] == "second"
            file.chmod(0o644)
            status, body = await device.call("GET", "/v1/git-credential", scope="deploy:report", ok=False)
            assert (status, "0600" in body["detail"], "second" in str(body)) == (409, True, False)
            await revoked_elsewhere(endpoint, device, token)
            await limited(device)
    finally:
        await asyncio.to_thread(endpoint.stop)
    assert "second" not in endpoint.program.log.read_text()


async def revoked_elsewhere(endpoint: Endpoint, device: EndpointClient, token: str) -> None:
    """Another replica writes the revocation to the store: this process refuses within 5 s."""
    path = endpoint.folder / "state" / "galley-endpoint" / "endpoint.db"
    with sqlite3.connect(path, timeout=10) as other:
        values = (device.name, int(time.time() * 1000) + 1)
        other.execute("INSERT INTO revocations (subject, before_ms) VALUES (?, ?)", values)
    other.close()
    began = time.monotonic()
    while (await device.request("GET", "/v1/site", token=token))[0] == 200:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.2)


async def limited(device: EndpointClient) -> None:
    """The burst of this source address is soon spent by what is refused; registered clients are not touched by it."""
    assert [(await device.token("heartbeat:write"))[0] for _ in range(15)] == [200] * 15
    refused = [(await device.token("heartbeat:write", client_assertion="x.y.z"))[0] for _ in range(15)]
    assert (refused[0], refused[-1]) == (401, 429)
    assert (await device.token("heartbeat:write"))[0] == 200
    async with device.session.post(device.endpoint.url + "/v1/enrol", json={}) as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_waiting_request_ends_when_the_endpoint_stops(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path)
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator, endpoint.client("", SoftwareKey.generate()) as device:
            await operator.put_site("store-1")
            await device.enrol("hw", await operator.ship("hw", "store-1", "node-1"))
            await device.login("command:read")
            waiting = asyncio.create_task(device.call("GET", "/v1/commands?wait=25", scope="command:read"))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await asyncio.to_thread(endpoint.stop)
            assert (await asyncio.wait_for(waiting, 5))["commands"] == []
            assert time.monotonic() - began < 5
    finally:
        await asyncio.to_thread(endpoint.stop)
    assert endpoint.program.returncode == 0
