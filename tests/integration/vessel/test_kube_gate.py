"""A write that is about to leave the process asks once more whether it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from agents.io.kube import Kube, Resource
from vessel.elector import LostLease

MAPS = Resource("v1", "ConfigMap", "configmaps", True)
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}}


async def test_what_the_gate_stops_is_not_sent(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, await request.read()))
        return web.json_response({"metadata": {"name": "m"}})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = tmp_path / "kubeconfig"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    kube = await Kube.connect(kubeconfig=config, user_agent="test")
    open_ = True

    def gate() -> float:
        if not open_:
            raise LostLease("the lease ran out")
        return 1.0

    async def apply() -> Any:
        return await kube.apply(MAPS, "n", "m", BODY, manager="t", gate=gate)

    try:
        await apply()
        await kube.delete(MAPS, "n", "m", gate=gate)
        assert [method for method, _ in seen] == ["PATCH", "DELETE"]
        assert b"ConfigMap" in seen[0][1]
        open_ = False  # as if the process had slept between its own check and this write
        for write in (apply(), kube.delete(MAPS, "n", "m", gate=gate)):
            with pytest.raises(LostLease, match="ran out"):
                await write
        assert len(seen) == 2
        open_ = True
        await apply()
        assert len(seen) == 3
    finally:
        await kube.aclose()
        await runner.cleanup()
