"""Siblings whose address in the roster is wrong or missing, found by hints; and liars, who are not believed."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected, Retryable
from edge_commander.discovery import hintfile, hints
from edge_commander.discovery.hints import Hint, Hints
from edge_commander.siblings.client import SiblingClient
from tests.fakes.siblings import Sibling, know_one_another

ECHO = ("POST", "/v1/echo")
ROUNDS = 12
asked: list[NodeId] = []


async def echo(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    asked.append(peer)
    return 200, b"heard " + body


class Liar:
    """Listens where it says that another is. `says`: what it answers to a TLS hello; None: nothing, ever."""

    def __init__(self, says: bytes | None = b"") -> None:
        self.says = says
        self.connections = 0
        self._held: list[asyncio.StreamWriter] = []

    async def listen(self, address: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, address, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._held.append(writer)
        if self.says is not None:
            writer.write(self.says)
            writer.close()


class Lan:
    """Three siblings on loopback addresses of their own and one port, so that hints say all."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.nodes = [
            Sibling(f"nuc-{name}", folder / name, address=f"127.91.0.{number}") for number, name in enumerate("abc", 1)
        ]
        self.hints: dict[NodeId, Sequence[str]] = {}
        self.port = 0

    async def up(self, folder: Path) -> None:
        for node in self.nodes:
            (folder / node.name.removeprefix("nuc-")).mkdir()
            self.stack.push_async_callback(node.aclose)
        first = self.nodes[0]
        await first.serve({ECHO: echo})
        assert first.server is not None
        self.port = first.server.port
        for node in self.nodes[1:]:
            await self._serve_at(node)
        know_one_another(self.nodes)

    async def _serve_at(self, node: Sibling) -> None:
        """On the port that all share."""
        import structlog

        from agents.core.settings import Listener
        from agents.io.clock import SystemClock
        from edge_commander.siblings.server import SiblingServer

        listener = Listener(bind=node.address, port=self.port)
        node.server = SiblingServer(listener, node.tls, {ECHO: echo}, SystemClock(), structlog.get_logger())
        await node.server.open()

    def client(self, node: Sibling) -> SiblingClient:
        client = SiblingClient(node.tls, self.port, lambda node: self.hints.get(node, ()))
        self.stack.push_async_callback(client.aclose)
        return client

    def believed(self, node: Sibling, address: str) -> Member:
        """What all rosters say of it from now on."""
        said = msgspec.structs.replace(node.member, address=address)
        for one in self.nodes:
            one.roster[:] = [said if member.node == node.node else member for member in one.roster]
        return said

    async def lie(self, address: str, says: bytes | None = b"") -> Liar:
        liar = Liar(says)
        server = await liar.listen(address, self.port)
        self.stack.callback(server.close)
        return liar


@pytest.fixture
async def lan(tmp_path: Path) -> AsyncIterator[Lan]:
    asked.clear()
    async with AsyncExitStack() as stack:
        lan = Lan(tmp_path, stack)
        await lan.up(tmp_path)
        yield lan


@pytest.mark.parametrize("address", ["", "127.91.9.9", "not-an-address"], ids=["none", "nobody's", "nonsense"])
async def test_each_reaches_a_sibling_that_the_roster_has_not_or_wrong_by_the_lans_word(lan: Lan, address: str) -> None:
    a, b, c = lan.nodes
    member = lan.believed(b, address)
    client = lan.client(a)
    with pytest.raises(Rejected if address.startswith("not") else Retryable):
        await client.call(member, *ECHO, b"1")
    lan.hints[b.node] = ["127.91.0.2"]
    for node in (a, c):
        for body in (b"1", b"2"):
            assert await lan.client(node).call(member, *ECHO, body) == b"heard " + body
    assert await client.call(member, *ECHO, b"3") == b"heard 3" and client.reached == {b.node: "127.91.0.2"}
    lan.hints.clear()  # what it proved is remembered
    assert await client.call(member, *ECHO, b"4") == b"heard 4"


async def test_a_siblings_address_that_another_member_has_now(lan: Lan) -> None:
    a, b, _ = lan.nodes
    member = lan.believed(b, "127.91.0.3")  # c answers there, and is c
    client = lan.client(a)
    with pytest.raises(Rejected, match="certificate refused"):
        await client.call(member, *ECHO, b"1")
    lan.hints[b.node] = ["127.91.0.2"]
    assert await client.call(member, *ECHO, b"2") == b"heard 2"
    assert asked == [a.node]


async def test_who_announces_anothers_id_is_not_trusted_and_the_honest_node_is_reached_in_few_attempts(
    lan: Lan, tmp_path: Path
) -> None:
    a, b, _ = lan.nodes
    member = lan.believed(b, "127.91.9.9")
    stranger = Sibling("nuc-stranger", tmp_path / "stranger", address="127.91.0.6")
    stranger.run_dir.mkdir()
    stranger.node = b.node  # it says that it is b, with a key of its own
    stranger.tls = type(stranger.tls)(b.node, stranger.keys.signer, lambda: stranger.roster, stranger.time,
                                      stranger.run_dir)  # fmt: skip
    stranger.roster[:] = a.roster
    lan.stack.push_async_callback(stranger.aclose)
    await lan._serve_at(stranger)
    liars = [await lan.lie("127.91.0.7"), await lan.lie("127.91.0.8", b"HTTP/1.1 200 OK\r\n\r\n")]
    lan.hints[b.node] = ["127.91.0.6", "127.91.0.7", "127.91.0.8", "127.91.0.2"]
    client = lan.client(a)
    answer = b""
    for _ in range(ROUNDS):
        try:
            answer = await client.call(member, *ECHO, b"1")
            break
        except (Retryable, Rejected):
            await asyncio.sleep(0.5)
    assert answer == b"heard 1" and asked == [a.node]
    assert sum(liar.connections for liar in liars) <= 2
    before = [liar.connections for liar in liars]
    for number in range(20):
        assert await client.call(member, *ECHO, str(number).encode()) == f"heard {number}".encode()
    assert [liar.connections for liar in liars] == before


async def test_who_never_answers_does_not_use_up_the_time_of_a_call(lan: Lan) -> None:
    a, b, _ = lan.nodes
    member = lan.believed(b, "127.91.0.7")
    silent = [await lan.lie("127.91.0.7", None), await lan.lie("127.91.0.8", None)]
    lan.hints[b.node] = ["127.91.0.8", "127.91.0.2"]
    client = lan.client(a)
    assert await client.call(member, *ECHO, b"1", timeout=8.0) == b"heard 1"
    assert [one.connections for one in silent] == [1, 1]


async def test_lies_without_end_slow_nobody_who_is_where_the_roster_says(lan: Lan) -> None:
    a, b, _ = lan.nodes
    liar = await lan.lie("127.91.0.7", None)
    client = lan.client(a)
    for number in range(200):
        lan.hints[b.node] = ["127.91.0.7", f"127.92.0.{number}"]
        assert await client.call(b.member, *ECHO, b"1") == b"heard 1"
    assert liar.connections == 0


async def test_a_request_that_reached_the_member_is_made_nowhere_else(lan: Lan) -> None:
    a, b, _ = lan.nodes
    refused: list[NodeId] = []

    async def refuse(peer: NodeId, body: bytes) -> tuple[int, bytes]:
        refused.append(peer)
        raise Retryable("not now")

    assert b.server is not None
    b.server._routes[ECHO] = refuse
    liar = await lan.lie("127.91.0.7")
    lan.hints[b.node] = ["127.91.0.7"]
    with pytest.raises(Retryable, match="503"):
        await lan.client(a).call(b.member, *ECHO, b"1")
    assert refused == [a.node] and liar.connections == 0


async def test_from_the_file_to_the_sibling(lan: Lan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "LAN", (*hints.LAN, ipaddress.ip_network("127.91.0.0/16")))
    a, b, _ = lan.nodes
    member, file = lan.believed(b, ""), tmp_path / "hints.json"
    client = SiblingClient(a.tls, lan.port, hintfile.HintReader(file, time.monotonic))
    lan.stack.push_async_callback(client.aclose)
    with pytest.raises(Retryable, match="names no address"):
        await client.call(member, *ECHO, b"1")
    hintfile.write(file, Hints(hints=[Hint(b.node, "127.91.0.2", int(time.monotonic()))]))
    assert await client.call(member, *ECHO, b"2") == b"heard 2"
