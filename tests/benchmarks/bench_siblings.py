"""The siblings' channel: a call on an open connection and with a handshake, beside plain HTTP by the same library in
the same run; and what the server adds to a process' PSS. Both ends are in one process, so a NUC pays half of each.

python -m tests.benchmarks.bench_siblings [--calls 500]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from aiohttp import ClientSession, web

ROUTE = ("POST", "/v1/echo")
BODY = b"x" * 200


async def echo(peer: str, body: bytes) -> tuple[int, bytes]:
    return 200, body


async def timed(calls: int, call: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Median and 99th percentile, ms."""
    spent = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        spent.append((time.perf_counter() - began) * 1000)
    spent.sort()
    return spent[len(spent) // 2], spent[int(len(spent) * 0.99)]


async def latencies(calls: int) -> dict[str, tuple[float, float]]:
    """By kind of call."""
    from tests.fakes.siblings import make_site

    folder = Path(tempfile.mkdtemp(prefix="galley-bench-"))
    found = {}
    try:
        async with AsyncExitStack() as stack:
            one, other = await make_site(folder, stack, {ROUTE: echo}, "ab")
            url = await _plain(stack)
            member = other.member

            async def secure() -> None:
                await one.client.call(member, *ROUTE, BODY)

            async def anew() -> None:
                await one.client.aclose()
                await secure()

            async def plain(session: ClientSession) -> None:
                async with session.post(url, data=BODY) as answer:
                    await answer.read()

            async def plain_anew() -> None:
                async with ClientSession() as session:
                    await plain(session)

            kept = await stack.enter_async_context(ClientSession())
            await secure()
            found["plain HTTP, open connection"] = await timed(calls, lambda: plain(kept))
            found["sibling, open connection"] = await timed(calls, secure)
            found["plain HTTP, new connection"] = await timed(calls // 4, plain_anew)
            found["sibling, new connection (handshake)"] = await timed(calls // 4, anew)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


async def _plain(stack: AsyncExitStack) -> str:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def added_memory() -> float:
    """PSS in MB (10^6 bytes) that listening adds to a process which has the commander's modules and an HTTP server."""
    import edge_commander.__main__
    from agents.core.jose import SoftwareKey

    assert edge_commander.__main__.main
    runner = web.AppRunner(web.Application())
    await runner.setup()
    SoftwareKey.generate()
    await asyncio.to_thread(gc.collect)
    before = _pss()
    from tests.fakes.siblings import make_site

    folder = Path(tempfile.mkdtemp(prefix="galley-bench-"))
    try:
        async with AsyncExitStack() as stack:
            (one,) = await make_site(folder, stack, {ROUTE: echo}, "a")
            await one.tls.server_context()
            gc.collect()
            after = _pss()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        await runner.cleanup()
    return after - before


def _pss() -> float:
    found = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--memory", action="store_true", help="print the memory alone")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if options.memory:
        print(f"{asyncio.run(added_memory()):.1f}")
        return
    figures = asyncio.run(latencies(options.calls))
    print("| call, 200 bytes each way | median, ms | p99, ms | to plain HTTP |")
    print("|---|---|---|---|")
    base = 0.0
    for name, (median, p99) in figures.items():
        base = median if name.startswith("plain") else base
        print(f"| {name} | {median:.2f} | {p99:.2f} | {median / base:.1f} |")
    command = [sys.executable, "-m", "tests.benchmarks.bench_siblings", "--memory"]
    memory = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    print(f"\nPSS that the server adds at rest: {memory} MB")


if __name__ == "__main__":
    main()
