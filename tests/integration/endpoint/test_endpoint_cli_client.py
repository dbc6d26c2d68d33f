"""The `galley` command's HTTP client against a server that answers slowly, in pieces."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path

from aiohttp import web

from agents.core.jose import SoftwareKey
from cloud_endpoint import keyfile
from cloud_endpoint.cli.client import Client
from cloud_endpoint.cli.profile import Profile
from tests.fakes.endpoint import make_certificate


async def test_a_long_list_that_comes_in_pieces_is_read_to_its_end(tmp_path: Path) -> None:
    lines = [{"node": f"node-{number}", "text": "x" * 100} for number in range(5000)]
    body = json.dumps(lines).encode()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/token":
            return web.json_response({"access_token": "t", "expires_in": 600, "scope": ""})
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for start in range(0, len(body), 200_000):
            await response.write(body[start : start + 200_000])
            await asyncio.sleep(0.05)
        return response

    cert, key = make_certificate(tmp_path, "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=tls).start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    keyfile.create(tmp_path / "me.json", SoftwareKey.generate())
    client = Client(Profile(url=url, issuer=url, operator="me", key_file=str(tmp_path / "me.json"), ca_file=str(cert)))
    try:
        assert await client.call("GET", "/v1/fleet/nodes") == lines
    finally:
        await client.aclose()
        await runner.cleanup()
