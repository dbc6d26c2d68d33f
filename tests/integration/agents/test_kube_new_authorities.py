"""A cluster that was made anew has other authorities: who was connected to the old one reads its kubeconfig again."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agents.core.errors import Retryable
from agents.io.kube import Kube
from tests.site_in_a_box.kube_certs import Authority


@contextlib.asynccontextmanager
async def server(authority: Authority, port: int = 0) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"by": authority.folder.name})

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.serving("api", ["127.0.0.1"]))
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context, reuse_address=True).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_a_refused_certificate_makes_it_read_a_kubeconfig_that_changed_and_only_then(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old", "old"), Authority(tmp_path / "new", "new")
    async with server(old) as port:
        place = old.kubeconfig(f"https://127.0.0.1:{port}", "galley-vessel")
        kube = await Kube.connect(kubeconfig=place, user_agent="test")
        other = kube.acting_as("system:serviceaccount:till:till")
        assert await kube.request("GET", "/api") == {"by": "old"}
    try:
        async with server(new, port):
            for _ in range(2):
                with pytest.raises(Retryable, match="ertificate"):
                    await kube.request("GET", "/api")
            new.kubeconfig(f"https://127.0.0.1:{port}", "galley-vessel").replace(place)
            assert await kube.request("GET", "/api") == {"by": "new"}
            assert await other.request("GET", "/api") == {"by": "new"}
    finally:
        await kube.aclose()
