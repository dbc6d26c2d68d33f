"""A reboot by a real endpoint's command on a real commander: told to the machine, answered once, after another boot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edge_commander.halves.answer import Answer, Family
from edge_commander.machine.client import SOCKET
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SITE = "store-03457"


class MachineHalf:
    """Takes every wish, and does nothing of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        self.news = asyncio.Condition()

    async def __aenter__(self) -> MachineHalf:
        self.server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self.news:
            self.asked.append(msgspec.json.decode(await reader.read())["operation"])
            self.news.notify_all()
        writer.write(msgspec.json.encode(Answer(family=Family.DONE)))
        await writer.drain()
        writer.close()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60), self.news:
            await self.news.wait_for(lambda: len(self.asked) >= count)


async def commands(operator: EndpointClient, node: str, answered: int) -> list[dict[str, Any]]:
    """The node's commands, the newest first, once so many are answered."""
    async with asyncio.timeout(60):
        while True:
            found = await operator.call("GET", f"/v1/nodes/{node}/commands")
            if sum(bool(one["outcome"]) for one in found) >= answered:
                return list(found)
            await asyncio.sleep(0.1)


async def ordered(operator: EndpointClient, node: str) -> None:
    """Sent once the node's next challenge is there."""
    async with asyncio.timeout(60):
        while True:
            ready = await operator.call("GET", f"/v1/nodes/{node}/next-command")
            if ready["challenge"]:
                break
            await asyncio.sleep(0.1)
    await operator.call("POST", f"/v1/nodes/{node}/requests", {"verb": "reboot"})


async def test_a_reboot_is_answered_once_and_only_after_another_boot(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    await operator.put_site(SITE)
    code = await operator.ship("NUC-3101", SITE, "kitchen-1")
    commander = commanders(tmp_path, endpoint, "NUC-3101")
    (tmp_path / "code").write_text(code)
    commander.start()
    commander.wait(lambda: commander.state == "forming")
    async with MachineHalf(commander.run_dir / SOCKET) as half:
        await ordered(operator, commander.node)
        await half.until(1)
        status, shown = await commander.ask("/v1/status")
        assert (status, shown["command"]["verb"], shown["past"]) == (200, "reboot", [])

        commander.program.kill()  # not the boot: it is told again, and not answered
        commander.start()
        await half.until(2)
        assert [one["outcome"] for one in await commands(operator, commander.node, 0)] == [None]

        commander.program.kill()
        commander.machine("NUC-3101")  # another boot id
        commander.start()
        found = await commands(operator, commander.node, 1)
        assert [(one["verb"], one["outcome"], one["detail"]) for one in found] == [
            ("reboot", "done", "the node was booted anew")
        ]
        assert half.asked == ["reboot", "reboot"]

        await ordered(operator, commander.node)
        found = await commands(operator, commander.node, 2)
        assert found[0]["outcome"] == "refused" and "one reboot an hour" in found[0]["detail"]
        assert half.asked == ["reboot", "reboot"]
        _, shown = await commander.ask("/v1/status")
        assert [one["outcome"] for one in shown["past"]] == ["done", "refused"]
        assert shown["around"]["name"] == "kitchen-1" and shown["around"]["disks"]
