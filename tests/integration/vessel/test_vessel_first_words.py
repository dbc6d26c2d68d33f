"""What health says of the Atlas and the Lease before anything was applied: one never denies the other."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.site_in_a_box.ports import free_port


async def said(port: int, vessel: Any, **wanted: str) -> None:
    """Waits until these components say these words."""
    components: dict[str, Any] = {}
    for _ in range(200):
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                components = (await answer.json())["components"]
        except aiohttp.ClientError:
            components = {}
        if all(words in components.get(name, {}).get("text", "") for name, words in wanted.items()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"never said {wanted}: {components}\n{vessel.program.log_tail(20)}")


async def test_a_writer_without_a_commit_says_so_and_another_waits(slate: Any) -> None:
    ports = [free_port(), free_port()]
    nowhere = {"url": f"file://{slate.folder}/none.git"}
    # No identity: both are alone, and on one host.
    first = slate.vessel("nuc-a", atlas=nowhere, identity="", health={"port": ports[0]}).start()
    await said(ports[0], first, lease="held by this node", atlas="no commit is known yet")
    second = slate.vessel("nuc-b", atlas=nowhere, identity="", health={"port": ports[1]}).start()
    await said(ports[1], second, lease="held by ", atlas="another node's Vessel is the writer")
    await said(ports[0], first, lease="held by this node", atlas="no commit is known yet", git="none.git")
    slate.repo.commit({"apps/web/app.yaml": slate.app(), "apps/web/ns.yaml": slate.namespace()}, "first")
    slate.repo.bare.rename(slate.folder / "none.git")
    await first.wait_report(app="*", phase="healthy")
    assert not second.reports(app="*", phase="healthy")
