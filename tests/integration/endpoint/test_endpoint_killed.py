"""kill -9 of the real endpoint at random moments of ingest: what it acknowledged is there, and counted once."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from pathlib import Path
from typing import Any

import aiohttp

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

SECONDS = 20.0
STREAMS = {"heartbeat": "heartbeat:write", "vessel": "deploy:report", "commander": "command:read"}


def body(stream: str, seq: int) -> dict[str, Any]:
    if stream == "heartbeat":
        return {"kind": "beat", "boot": "01234567", "up": seq, "ok": 1}
    return {"kind": "alert", "code": f"{stream}-{seq}", "severity": "info", "text": ""}


class Sender:
    """One stream of one node: sends until stopped, repeats what was not acknowledged, and notes what was."""

    def __init__(self, client: EndpointClient, stream: str) -> None:
        self.client = client
        self.stream = stream
        self.run = secrets.token_hex(8)
        self.acknowledged = 0
        self.answers = 0

    async def work(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            first = self.acknowledged + 1
            messages = [{"seq": n, "t": n, "m": body(self.stream, n)} for n in range(first, first + 5)]
            random.shuffle(messages)
            batch = {"v": 1, "stream": self.stream, "run": self.run, "messages": messages}
            try:
                answer = await self.client.call("POST", "/v1/ingest", batch, scope=STREAMS[self.stream])
            except (aiohttp.ClientError, OSError, RuntimeError):
                await asyncio.sleep(0.05)
                continue
            assert answer["ack"] >= first + 4, "an acknowledgement went back"
            self.acknowledged = answer["ack"]
            self.answers += 1


async def test_no_acknowledged_message_is_ever_lost(tmp_path: Path) -> None:
    limits = {"source_rate": 10_000, "source_burst": 10_000, "client_rate": 10_000, "client_burst": 10_000}
    endpoint = Endpoint(tmp_path, limits=limits)
    await asyncio.to_thread(endpoint.start)
    try:
        async with endpoint.operator() as operator, endpoint.client("", SoftwareKey.generate()) as device:
            await operator.put_site("store-1")
            code = await operator.ship("hw-killed", "store-1", "node-1")
            assert (await device.enrol("hw-killed", code))[0] == 200
            for scope in STREAMS.values():
                await device.login(scope)
            deadline = time.monotonic() + SECONDS
            senders = [Sender(device, stream) for stream in STREAMS]
            tasks = [asyncio.create_task(sender.work(deadline)) for sender in senders]
            kills = 0
            while time.monotonic() < deadline - 4:
                await asyncio.sleep(random.uniform(0.2, 1.0))
                await asyncio.to_thread(endpoint.program.kill)
                kills += 1
                await asyncio.to_thread(endpoint.start)
            await asyncio.gather(*tasks)
            await asyncio.to_thread(endpoint.program.kill)
            await asyncio.to_thread(endpoint.start)
            await judge(operator, device, senders)
            assert kills >= 3
            assert sum(sender.answers for sender in senders) > kills
    finally:
        await asyncio.to_thread(endpoint.stop)


async def judge(operator: EndpointClient, device: EndpointClient, senders: list[Sender]) -> None:
    seen = await operator.call("GET", f"/v1/fleet/nodes/{device.name}/streams")
    acks = {one["run"]: one["ack"] for one in seen["streams"]}
    for sender in senders:
        assert acks[sender.run] >= sender.acknowledged
    stored: list[int] = []
    before = ""
    while page := await operator.call("GET", f"/v1/fleet/sites/store-1/history?kind=beat&limit=1000{before}"):
        stored += [one["body"]["up"] for one in page]
        before = f"&before={page[-1]['id']}"
    assert sorted(stored) == list(range(1, acks[senders[0].run] + 1)), "a beat was lost or counted twice"
