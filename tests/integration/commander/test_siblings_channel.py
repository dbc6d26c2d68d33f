"""The siblings' channel over real sockets: members talk, within bounds of number, size and patience."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agents.contracts.ids import NodeId
from agents.core.errors import Rejected, Retryable
from agents.core.settings import Listener
from agents.io.clock import SystemClock
from agents.supervise.pulse import Pulse
from edge_commander.siblings import acceptor, connection
from edge_commander.siblings import server as server_module
from edge_commander.siblings.server import MAX_BODY, SiblingServer
from edge_commander.siblings.verify import LIFETIME_MS
from tests.fakes.siblings import Sibling, make_site
from tests.fakes.strangers import at, careless
from tests.site_in_a_box.ports import free_port

ECHO = ("POST", "/v1/echo")
heard: list[NodeId] = []


async def echo(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    heard.append(peer)
    return 200, peer.encode() + b" " + body


async def refuse(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    raise Rejected("not with me")


async def later(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    raise Retryable("not yet")


async def status(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    return int(body), b"as asked"


async def never(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    await asyncio.sleep(3600)
    return 200, b""


ROUTES = {
    ECHO: echo,
    ("POST", "/v1/refuse"): refuse,
    ("POST", "/v1/later"): later,
    ("POST", "/v1/status"): status,
    ("POST", "/v1/never"): never,
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[list[Sibling]]:
    heard.clear()
    async with AsyncExitStack() as stack:
        yield await make_site(tmp_path / "site", stack, ROUTES)


async def test_every_member_may_ask_every_other_and_is_known_by_its_certificate(site: list[Sibling]) -> None:
    for one in site:
        for other in site:
            if one is not other:
                answer = await one.client.call(other.member, *ECHO, b"hi")
                assert answer == one.node.encode() + b" hi"
    assert len(heard) == 6


async def test_connections_are_used_again_and_bounded(site: list[Sibling]) -> None:
    a, b, _ = site
    await asyncio.gather(*(a.client.call(b.member, *ECHO, b"%d" % n) for n in range(40)))
    assert b.server is not None and b.server.acceptor is not None
    assert 1 <= b.server.acceptor._by_address.total() <= 2


async def test_a_roster_that_changes_often_leaves_no_connections_behind(site: list[Sibling]) -> None:
    a, b, c = site
    slow = asyncio.create_task(a.client.call(b.member, "POST", "/v1/never", timeout=1.0))
    await asyncio.sleep(0.1)
    for turn in range(30):
        a.roster[:] = [a.member, b.member] if turn % 2 else [a.member, b.member, c.member]
        await a.client.call(b.member, *ECHO, b"")
    await asyncio.sleep(0.1)
    assert b.server is not None and b.server.acceptor is not None
    assert b.server.acceptor._by_address.total() <= 3, "the newest, and the two of the pool that still asks"
    with pytest.raises(Retryable, match="no answer in time"):
        await slow
    assert len(a.client._pools) == 1


async def test_new_connections_use_a_new_leaf_and_open_ones_go_on(site: list[Sibling]) -> None:
    a, b, _ = site
    await a.client.call(b.member, *ECHO, b"one")
    assert b.server is not None and b.server.acceptor is not None
    before = (b.run_dir / "sibling.pem").read_bytes()
    b.time.offset_ms = LIFETIME_MS * 2 // 3 + 1000
    await a.client.call(b.member, *ECHO, b"two")
    assert b.server.acceptor._by_address.total() == 1 and (b.run_dir / "sibling.pem").read_bytes() == before
    b.time.offset_ms = 0
    (b.run_dir / "sibling.pem").unlink()
    await a.client.aclose()
    await a.client.call(b.member, *ECHO, b"three")
    assert (b.run_dir / "sibling.pem").read_bytes() != before and len(heard) == 3


@pytest.mark.parametrize(
    ("path", "body", "error", "text"),
    [
        ("/v1/refuse", b"", Rejected, "HTTP 409 .*not with me"),
        ("/v1/later", b"", Retryable, "HTTP 503 .*not yet"),
        ("/v1/status", b"404", Rejected, "HTTP 404"),
        ("/v1/status", b"429", Retryable, "HTTP 429"),
        ("/v1/status", b"500", Retryable, "HTTP 500"),
        ("/v1/status", b"302", Rejected, "HTTP 302"),
        ("/v1/nowhere", b"", Rejected, "HTTP 404"),
        ("/v1/echo", b"x" * (MAX_BODY + 1), Rejected, "HTTP 413"),
    ],
)
async def test_what_answers_become(
    site: list[Sibling], path: str, body: bytes, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await site[0].client.call(site[1].member, "POST", path, body)
    assert heard == []


async def test_the_largest_body_passes_and_the_method_counts(site: list[Sibling]) -> None:
    a, b, _ = site
    body = b"x" * (MAX_BODY - 64)
    assert (await a.client.call(b.member, *ECHO, body)).endswith(body)
    with pytest.raises(Rejected, match="HTTP 404"):
        await a.client.call(b.member, "GET", "/v1/echo")


async def test_patience_ends_on_both_sides(site: list[Sibling], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Retryable, match="no answer in time"):
        await site[0].client.call(site[1].member, "POST", "/v1/never", timeout=0.2)
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.1)
    with pytest.raises(Retryable, match="not in time"):
        await site[0].client.call(site[1].member, "POST", "/v1/never")


async def test_nobody_there(site: list[Sibling]) -> None:
    assert site[1].server is not None
    member = site[1].member
    await site[1].server.aclose()
    with pytest.raises(Retryable, match="refused"):
        await site[0].client.call(member, *ECHO, b"")


async def test_silent_strangers_do_not_keep_members_out(site: list[Sibling], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "HANDSHAKE_SECONDS", 0.3)
    server = site[1].server
    assert server is not None and server.acceptor is not None
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(acceptor.MAX_PER_ADDRESS + 5)]
    try:
        await asyncio.sleep(0.1)
        assert server.acceptor._by_address["127.0.0.1"] == acceptor.MAX_PER_ADDRESS
        with pytest.raises(Retryable):
            await site[0].client.call(site[1].member, *ECHO, b"")
        await asyncio.sleep(0.5)
        assert await site[0].client.call(site[1].member, *ECHO, b"") == site[0].node.encode() + b" "
    finally:
        for one in silent:
            one.close()


async def test_a_member_that_says_nothing_is_let_go(site: list[Sibling], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_REQUEST_SECONDS", 0.2)
    assert site[1].server is not None and site[1].server.acceptor is not None
    await site[0].tls.ready()
    context = careless(site[0].run_dir / "sibling.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", site[1].server.port, ssl=context)
    with contextlib.suppress(OSError, ssl.SSLError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert site[1].server.acceptor._by_address.total() == 0


async def test_a_taken_port_is_tried_again_and_said(
    site: list[Sibling], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.05)
    said: list[tuple[bool, str]] = []
    stopping = asyncio.Event()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = _server(site[0], port)
        task = asyncio.create_task(
            server.run(Pulse("siblings", SystemClock(), stopping), lambda ok, text: said.append((ok, text)))
        )
        await _until(lambda: len(said) > 1)
        assert said[0] == (False, f"siblings' port 127.0.0.1:{port}: Address already in use")
    await _until(lambda: said[-1][0])
    assert await site[1].client.call(at(site[0].member, port), *ECHO, b"") == site[1].node.encode() + b" "
    stopping.set()
    await asyncio.wait_for(task, 5)
    with pytest.raises(Retryable):
        await site[1].client.call(at(site[0].member, port), *ECHO, b"")


async def test_a_bug_in_taking_connections_ends_the_daemon(
    site: list[Sibling], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.05)
    server = _server(site[0], free_port())

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server, "_connection", broken)
    stopping = asyncio.Event()
    task = asyncio.create_task(server.run(Pulse("siblings", SystemClock(), stopping)))
    await _until(lambda: server.port > 0)
    with socket.create_connection(("127.0.0.1", server.port)), pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(task, 5)
    assert server.port == 0


async def test_a_listener_that_is_turned_off_does_nothing(site: list[Sibling]) -> None:
    await asyncio.wait_for(_server(site[0], 0).run(Pulse("siblings", SystemClock(), asyncio.Event())), 5)


def _server(node: Sibling, port: int) -> SiblingServer:
    import structlog

    return SiblingServer(Listener(bind="127.0.0.1", port=port), node.tls, ROUTES, SystemClock(), structlog.get_logger())


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
