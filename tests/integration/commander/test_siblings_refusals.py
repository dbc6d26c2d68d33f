"""Everybody but a member of the roster is refused at the siblings' channel, on both sides, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from agents.core.settings import Listener
from agents.io.clock import SystemClock
from agents.supervise.pulse import Pulse
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.siblings.issuing import anchor
from edge_commander.siblings.server import SiblingServer
from edge_commander.siblings.verify import LIFETIME_MS
from tests.fakes.siblings import Sibling, make_site
from tests.fakes.strangers import at, attacker, careless, listening_as, try_as_client
from tests.site_in_a_box.ports import free_port

ECHO = ("POST", "/v1/echo")
heard: list[NodeId] = []


async def echo(peer: NodeId, body: bytes) -> tuple[int, bytes]:
    heard.append(peer)
    return 200, peer.encode() + b" " + body


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[list[Sibling]]:
    heard.clear()
    async with AsyncExitStack() as stack:
        yield await make_site(tmp_path / "site", stack, {ECHO: echo})


@pytest.mark.parametrize("kind", ["stranger", "strange key", "another's name", "old", "of the future", "intermediate"])
async def test_a_server_refuses(site: list[Sibling], tmp_path: Path, kind: str) -> None:
    server = site[1].server
    assert server is not None and server.acceptor is not None
    with capture_logs() as logs:
        answer = await try_as_client(server.port, careless(attacker(tmp_path, kind, site)))
    assert answer == b"" and heard == [] and server.acceptor.refused == 1
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["refused at the siblings' port"]


async def test_a_server_refuses_no_certificate_and_older_tls(site: list[Sibling]) -> None:
    server = site[1].server
    assert server is not None and server.acceptor is not None
    assert await try_as_client(server.port, careless()) == b""
    await site[0].tls.ready()
    old = careless(site[0].run_dir / "sibling.pem")
    assert (await try_as_client(server.port, old)).startswith(b"HTTP/1.1 200")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await try_as_client(server.port, old) == b""
    assert heard == [site[0].node] and server.acceptor.refused == 2


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 1000, b"\0" * 5000, b""])
async def test_what_is_no_handshake_ends_at_once(site: list[Sibling], said: bytes) -> None:
    server = site[1].server
    assert server is not None and server.acceptor is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    writer.write_eof()
    with contextlib.suppress(OSError):
        await asyncio.wait_for(reader.read(), 3)
    writer.close()
    await _until(lambda: server.acceptor is not None and server.acceptor._by_address.total() == 0)
    assert server.acceptor.refused == 1 and heard == []
    assert await site[0].client.call(site[1].member, *ECHO, b"") == site[0].node.encode() + b" "


@pytest.mark.parametrize("kind", ["stranger", "strange key", "another's name", "intermediate"])
async def test_a_client_refuses_and_says_nothing_of_its_request(site: list[Sibling], tmp_path: Path, kind: str) -> None:
    async with listening_as(attacker(tmp_path, kind, site)) as (port, told):
        with pytest.raises(Rejected, match="certificate refused"):
            await site[1].client.call(at(site[0].member, port), *ECHO, b"secret")
        await asyncio.sleep(0.1)
    assert b"".join(told) == b""


@pytest.mark.parametrize("kind", ["old", "of the future"])
async def test_a_client_waits_for_a_certificate_whose_time_is_not_now(
    site: list[Sibling], tmp_path: Path, kind: str
) -> None:
    async with listening_as(attacker(tmp_path, kind, site)) as (port, told):
        with pytest.raises(Retryable, match="certificate refused"):
            await site[1].client.call(at(site[0].member, port), *ECHO, b"secret")
        await asyncio.sleep(0.1)
    assert b"".join(told) == b""


async def test_a_client_refuses_another_member_and_older_tls(site: list[Sibling]) -> None:
    a, b, c = site
    assert c.server is not None
    with pytest.raises(Rejected, match="certificate refused"):
        await a.client.call(at(b.member, c.server.port), *ECHO, b"for b alone")
    assert heard == []
    async with listening_as(b.run_dir / "sibling.pem", ssl.TLSVersion.TLSv1_2) as (port, told):
        with pytest.raises((Retryable, Rejected)):
            await a.client.call(at(b.member, port), *ECHO, b"for b alone")
    assert told == []


async def test_a_client_refuses_what_speaks_no_tls(site: list[Sibling]) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Rejected, match=r"no sibling's TLS 1\.3 there"):
            await site[0].client.call(at(site[1].member, server.sockets[0].getsockname()[1]), *ECHO, b"for b alone")


async def test_openssls_own_client_agrees(site: list[Sibling], tmp_path: Path) -> None:
    """Another TLS client, with the member's anchor alone, sees the same server and is served."""
    a, b, _ = site
    await a.tls.ready()
    anchor_file = tmp_path / "anchor.pem"
    anchor_file.write_bytes(anchor(b.node, b.keys.signer.public, ec.generate_private_key(ec.SECP256R1())))
    own = a.run_dir / "sibling.pem"
    assert b.server is not None
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{b.server.port}", "-tls1_3", "-cert", own, "-key", own,
        "-CAfile", anchor_file, "-partial_chain", "-x509_strict", "-verify_hostname", b.node, "-verify_return_error",
        "-servername", b.node, "-ign_eof", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    request = b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    out, _ = await asyncio.wait_for(process.communicate(request), 10)
    assert b"Verify return code: 0 (ok)" in out and b"TLSv1.3" in out
    assert a.node.encode() + b" hi" in out


async def test_a_foreign_box_with_the_same_software_gets_nowhere(site: list[Sibling], tmp_path: Path) -> None:
    foreign = Sibling("foreign", tmp_path)
    foreign.roster = [*site[0].roster, foreign.member]
    try:
        await foreign.serve({ECHO: echo})
        with pytest.raises(Retryable):
            await foreign.client.call(site[0].member, *ECHO, b"let me in")
        with pytest.raises(Rejected, match="not in the roster"):
            await site[0].client.call(foreign.member, *ECHO, b"hi")
        forged = at(site[1].member, foreign.server.port if foreign.server else 0)
        with pytest.raises(Rejected, match="certificate refused"):
            await site[0].client.call(forged, *ECHO, b"hi")
    finally:
        await foreign.aclose()
    assert heard == []


async def test_a_revocation_ends_an_open_connection(site: list[Sibling]) -> None:
    a, b, c = site
    await a.client.call(b.member, *ECHO, b"one")
    b.roster.remove(a.member)
    with pytest.raises(Rejected, match="403"):
        await a.client.call(b.member, *ECHO, b"two")
    with pytest.raises(Retryable):
        await a.client.call(b.member, *ECHO, b"three")
    assert await c.client.call(b.member, *ECHO, b"four") == c.node.encode() + b" four"
    assert heard == [a.node, c.node]
    b.roster.append(a.member)
    await a.client.call(b.member, *ECHO, b"back again")


async def test_a_client_drops_a_member_at_once_too(site: list[Sibling]) -> None:
    a, b, _ = site
    await a.client.call(b.member, *ECHO, b"one")
    a.roster.remove(b.member)
    with pytest.raises(Rejected, match="not in the roster"):
        await a.client.call(b.member, *ECHO, b"two")
    assert len(heard) == 1


async def test_a_changed_key_ends_what_the_old_one_opened(site: list[Sibling], tmp_path: Path) -> None:
    a, b, _ = site
    await a.client.call(b.member, *ECHO, b"one")
    renewed = Sibling(b.name, tmp_path)
    for node in site:
        node.roster[1] = Member(node=b.node, name=b.name, address=b.member.address, signing=renewed.member.signing)
    with pytest.raises(Rejected, match="certificate refused"):
        await a.client.call(a.roster[1], *ECHO, b"two")
    with pytest.raises(Rejected, match="with that key"):
        await a.client.call(b.member, *ECHO, b"two")
    assert len(heard) == 1


async def test_an_open_connection_does_not_outlive_its_leaf(site: list[Sibling]) -> None:
    a, b, _ = site
    await a.client.call(b.member, *ECHO, b"one")
    b.time.offset_ms = LIFETIME_MS + 1000
    with pytest.raises(Retryable, match="no longer valid"):
        await a.client.call(b.member, *ECHO, b"two")


async def test_while_the_clock_is_wrong_nobody_is_let_in_and_nobody_asked(tmp_path: Path) -> None:
    wrong = Sibling("nuc-a", tmp_path)
    wrong.time.reason = Reason(Why.CLOCK, "it is 1970")
    with pytest.raises(Retryable, match="it is 1970"):
        await wrong.serve({ECHO: echo})
    wrong.roster.append(wrong.member)
    with pytest.raises(Retryable, match="it is 1970"):
        await wrong.client.call(wrong.member, *ECHO, b"")
    wrong.time.reason = NOTHING
    await wrong.serve({ECHO: echo})
    await wrong.aclose()


async def test_a_signer_that_does_not_sign_right_is_said_and_never_presented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Sibling("nuc-a", tmp_path)
    other = SoftwareKey.generate()
    monkeypatch.setattr(node.keys.signer, "sign", other.sign)
    said: list[tuple[bool, str]] = []
    stopping = asyncio.Event()
    server = _server(node, free_port())
    task = asyncio.create_task(
        server.run(Pulse("siblings", SystemClock(), stopping), lambda ok, text: said.append((ok, text)))
    )
    await _until(lambda: bool(said))
    stopping.set()
    await task
    assert said[0][0] is False and "not signed by the key" in said[0][1]
    assert not (tmp_path / "sibling.pem").exists()


def _server(node: Sibling, port: int) -> SiblingServer:
    import structlog

    return SiblingServer(
        Listener(bind="127.0.0.1", port=port), node.tls, {ECHO: echo}, SystemClock(), structlog.get_logger()
    )


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
