"""Ingest of the real endpoint over TLS: messages and requests a second, transactions, and the latency of an answer.

Run: `python -m tests.benchmarks.bench_ingest [seconds] [nodes] [messages per request]`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient


async def sender(endpoint: Endpoint, client: EndpointClient, until: float, per: int, took: list[float]) -> None:
    run, seq = secrets.token_hex(8), 0
    while time.monotonic() < until:
        beat = {"kind": "beat", "boot": "01234567", "up": 5, "ok": 1}
        messages = [{"seq": seq + n, "t": 1, "m": beat} for n in range(1, per + 1)]
        body = {"v": 1, "stream": "heartbeat", "run": run, "messages": messages}
        began = time.perf_counter()
        answer = await client.call("POST", "/v1/ingest", body, scope="heartbeat:write")
        took.append(time.perf_counter() - began)
        seq += per
        if answer["ack"] != seq:
            raise RuntimeError(f"acknowledged {answer['ack']} of {seq}")


async def measure(folder: Path, seconds: float, nodes: int, per: int) -> dict[str, Any]:
    """One run against a new endpoint."""
    fast = {"source_rate": 1e6, "source_burst": 1e6, "client_rate": 1e6, "client_burst": 1e6}
    endpoint = Endpoint(folder, limits=fast)
    await asyncio.to_thread(endpoint.start)
    took: list[float] = []
    try:
        async with endpoint.operator() as operator:
            await operator.put_site("store-1")
            clients = []
            for number in range(nodes):
                code = await operator.ship(f"hw-{number}", "store-1", f"node-{number}")
                context = endpoint.client("", SoftwareKey.generate(), keep_alive=True)
                client = await context.__aenter__()
                await client.enrol(f"hw-{number}", code)
                await client.login("heartbeat:write")
                clients.append((context, client))
            await asyncio.sleep(2.5)  # the port shows figures of at most 2 s ago
            before = syncs(endpoint)
            until = time.monotonic() + seconds
            await asyncio.gather(*(sender(endpoint, client, until, per, took) for _, client in clients))
            await asyncio.sleep(2.5)
            spent = syncs(endpoint) - before
            for context, _ in clients:
                await context.__aexit__(None, None, None)
        pss = endpoint.program.pss_bytes()
    finally:
        await asyncio.to_thread(endpoint.stop)
    took.sort()
    return {
        "messages_per_second": round(len(took) * per / seconds),
        "requests_per_second": round(len(took) / seconds),
        "commits": round(spent),
        "requests_per_commit": round(len(took) / spent, 2) if spent else None,
        "p50_ms": round(took[len(took) // 2] * 1000, 1),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
        "pss_mb": round(pss / 1e6, 1),
    }


def syncs(endpoint: Endpoint) -> float:
    """Transactions so far, from the metrics port; each is one fsync of the WAL (checkpoints add some)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.health_port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("galley_endpoint_store_commits"):
                return float(line.split()[1])
    raise RuntimeError("the endpoint does not count its commits")


def main() -> None:
    """Prints one JSON line."""
    seconds, nodes, per = (float(sys.argv[1]) if len(sys.argv) > 1 else 5.0), 8, 1
    if len(sys.argv) > 3:
        nodes, per = int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), seconds, nodes, per))
    print(json.dumps({"nodes": nodes, "messages_per_request": per, **found}))


if __name__ == "__main__":
    main()
