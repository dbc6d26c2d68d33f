"""The proxy of a pull, over real sockets and in virtual time: its bandwidth, whom it refuses, what it passes on."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from edge_commander.images.bucket import TokenBucket
from edge_commander.images.proxy import HELD_BYTES, Throttle
from edge_commander.images.request import Upstream
from tests.fakes.clock import VirtualClock

RATE = 100_000


@asynccontextmanager
async def served(body: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers each request's head with `body` and closes; its port, and what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


@asynccontextmanager
async def proxied(upstream: Upstream | None = None) -> AsyncIterator[tuple[Throttle, VirtualClock, str]]:
    """A proxy with its clock, and the header that its child would send."""
    clock = VirtualClock()
    async with Throttle(TokenBucket(RATE, RATE / 4, clock.monotonic()), clock, upstream) as proxy:
        given = urlsplit(proxy.url)
        pair = base64.b64encode(f"{given.username}:{given.password}".encode()).decode()
        yield proxy, clock, f"Proxy-Authorization: Basic {pair}\r\n"


async def ask(proxy: Throttle, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"{head}\r\n".encode())
    return reader, writer


async def turn(clock: VirtualClock, seconds: float, steps: int = 50) -> None:
    """Virtual time, with real moments in between for the sockets."""
    for _ in range(steps):
        await clock.advance(seconds / steps)
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("form", ["tunnel", "plain"])
async def test_the_rate_is_held_in_both_forms_however_many_connections(form: str) -> None:
    async with served(bytes(10 * RATE)) as (port, _), proxied() as (proxy, clock, own):
        first = f"CONNECT 127.0.0.1:{port}" if form == "tunnel" else f"GET http://127.0.0.1:{port}/a"
        opened = [await ask(proxy, f"{first} HTTP/1.1\r\n{own}") for _ in range(3)]
        if form == "tunnel":
            for reader, writer in opened:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
        drains = [asyncio.create_task(reader.read(-1)) for reader, _ in opened]
        await turn(clock, 8.0)
        allowed = RATE * (8.0 + 0.25) + 3 * 65536
        assert 0.8 * 8.0 * RATE < proxy.fetched <= allowed
        for task in drains:
            task.cancel()


@pytest.mark.parametrize(
    "own", ["", "Proxy-Authorization: Basic Z2FsbGV5Og==\r\n", "Proxy-Authorization: Bearer x\r\n"]
)
@pytest.mark.parametrize("form", ["CONNECT 127.0.0.1:{port}", "GET http://127.0.0.1:{port}/"])
async def test_nobody_else_can_use_it(own: str, form: str) -> None:
    async with served(b"secret") as (port, asked), proxied() as (proxy, _, _own):
        reader, _ = await ask(proxy, f"{form.format(port=port)} HTTP/1.1\r\n{own}")
        assert (await reader.read()).startswith(b"HTTP/1.1 407 ")
        assert asked == [] and proxy.refused == 1 and proxy.fetched == 0


async def test_what_it_does_not_serve_is_refused_and_the_password_goes_no_further() -> None:
    async with served(b"HTTP/1.1 200 OK\r\n\r\nbody") as (port, asked), proxied() as (proxy, _, own):
        for head, status in (
            (f"GET / HTTP/1.1\r\n{own}", b"400"),
            (f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n{own}", b"502"),
            (f"GET http://127.0.0.1:{port}/x HTTP/1.1\r\n{own}", b"200"),
        ):
            reader, _ = await ask(proxy, head)
            assert (await reader.read()).split(b" ")[1] == status
        assert asked[0].startswith(b"GET /x HTTP/1.1\r\n") and b"Proxy" not in asked[0]
        password = urlsplit(proxy.url).password
        assert password and password not in repr(proxy)


async def test_the_nodes_own_proxy_is_asked_in_turn() -> None:
    async with (
        served(b"HTTP/1.1 200 OK\r\n\r\nthrough") as (port, asked),
        proxied(Upstream("127.0.0.1", port, "Basic dTpw")) as (proxy, _, own),
    ):
        for line in ("CONNECT r.example:443", "GET http://r.example/y"):
            reader, _ = await ask(proxy, f"{line} HTTP/1.1\r\n{own}")
            assert (await reader.read()).endswith(b"through")
    assert asked[0].startswith(b"CONNECT r.example:443 ") and b"Proxy-Authorization: Basic dTpw\r\n" in asked[0]
    assert asked[1].startswith(b"GET http://r.example/y ") and b"Proxy-Authorization: Basic dTpw\r\n" in asked[1]


@pytest.mark.parametrize("size", [1000, 2 * HELD_BYTES])
async def test_a_cut_line_is_kept_from_the_child_where_much_had_come(size: int) -> None:
    async with served(bytes(size)) as (port, _), proxied() as (proxy, clock, own):
        reader, writer = await ask(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{own}")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        ended = asyncio.create_task(reader.read(-1))
        await turn(clock, 10.0)
        assert proxy.fetched == size
        assert ended.done() is (size < HELD_BYTES) and (proxy.lost_at is None) is (size < HELD_BYTES)
        await proxy.cut()
        assert len(await ended) == size, "the end of the proxy ends it"
