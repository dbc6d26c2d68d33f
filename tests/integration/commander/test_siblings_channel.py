"""The siblings' channel over real sockets: members talk, everybody else is refused, on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId, node_id
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from agents.core.settings import Listener
from agents.io.clock import SystemClock
from agents.supervise.pulse import Pulse
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.siblings import acceptor, connection
from edge_commander.siblings import server as server_module
from edge_commander.siblings.issuing import SignerKey, _builder, _usage, device_name, issue_leaf, public_key
from edge_commander.siblings.server import MAX_BODY, SiblingServer
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS
from tests.fakes.siblings import Sibling, make_site
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


def presented(folder: Path, certificate: x509.Certificate, key: Any, *more: x509.Certificate) -> Path:
    file = folder / "presented.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(pem + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (certificate, *more)))
    return file


def attacker(folder: Path, kind: str, site: list[Sibling]) -> Path:
    """A PEM file with what this attacker presents where `site[0]` belongs."""
    victim, other = site[0], site[2]
    key = ec.generate_private_key(ec.SECP256R1())
    now, stranger = victim.time.now_ms(), SoftwareKey.generate()
    if kind == "intermediate":  # a member's key makes an authority of its own, which makes the leaf
        middle = ec.generate_private_key(ec.SECP256R1())
        between = (
            _builder("between", device_name(other.node), middle.public_key())
            .not_valid_before(issue_leaf(other.node, other.keys.signer, key.public_key(), now).not_valid_before_utc)
            .not_valid_after(issue_leaf(other.node, other.keys.signer, key.public_key(), now).not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key(other.keys.signer.public)), False
            )
            .sign(SignerKey(other.keys.signer), hashes.SHA256())
        )
        as_key = SoftwareKey.generate()
        leaf = issue_leaf(victim.node, as_key, key.public_key(), now)
        return presented(folder, leaf, key, between)
    node, signer, made = {
        "stranger": (node_id("stranger"), stranger, now),
        "strange key": (victim.node, stranger, now),
        "another's name": (victim.node, other.keys.signer, now),
        "old": (victim.node, victim.keys.signer, now - LIFETIME_MS - 1000),
        "of the future": (victim.node, victim.keys.signer, now + BACKDATE_MS + 60_000),
    }[kind]
    return presented(folder, issue_leaf(node, signer, key.public_key(), made), key)


async def try_as_client(port: int, context: ssl.SSLContext) -> bytes:
    """What a server answers to a request by such a client; empty when it hangs up."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (OSError, ssl.SSLError):
        return b""
    try:
        writer.write(b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        return await reader.read(1000)
    except (OSError, ssl.SSLError):
        return b""
    finally:
        writer.transport.abort()


def careless(pem: Path | None = None) -> ssl.SSLContext:
    """A client that believes every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pem is not None:
        context.load_cert_chain(pem)
    return context


@contextlib.asynccontextmanager
async def listening_as(pem: Path, version: ssl.TLSVersion | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that presents `pem` and asks for nothing; its port, and what it was told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if version is not None:
        context.maximum_version = version
    told: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            told.append(await reader.read(100))
        writer.transport.abort()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()


def at(member: Member, port: int) -> Member:
    return Member(node=member.node, name=member.name, address=f"127.0.0.1:{port}", signing=member.signing)


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
    old = careless(site[0].run_dir / "sibling.pem")
    await site[0].tls.ready()
    old = careless(site[0].run_dir / "sibling.pem")
    assert (await try_as_client(server.port, old)).startswith(b"HTTP/1.1 200")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await try_as_client(server.port, old) == b""
    assert heard == [site[0].node] and server.acceptor.refused == 2


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


async def test_a_foreign_box_with_the_same_software_gets_nowhere(site: list[Sibling], tmp_path: Path) -> None:
    foreign = Sibling("foreign", tmp_path)
    foreign.roster = [*site[0].roster, foreign.member]
    try:
        await foreign.serve(ROUTES)
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


async def test_a_new_leaf_is_used_for_new_connections(site: list[Sibling]) -> None:
    a, b, _ = site
    await a.client.call(b.member, *ECHO, b"one")
    before = (b.run_dir / "sibling.pem").read_bytes()
    for node in (a, b):
        node.time.offset_ms = LIFETIME_MS * 2 // 3 + 1000
    b.time.offset_ms = a.time.offset_ms = 0  # back again: the leaf stays
    await a.client.call(b.member, *ECHO, b"two")
    assert (b.run_dir / "sibling.pem").read_bytes() == before
    (b.run_dir / "sibling.pem").unlink()
    await a.client.aclose()
    await a.client.call(b.member, *ECHO, b"three")
    assert (b.run_dir / "sibling.pem").read_bytes() != before and len(heard) == 3


async def test_while_the_clock_is_wrong_nobody_is_let_in_and_nobody_asked(tmp_path: Path) -> None:
    wrong = Sibling("nuc-a", tmp_path)
    wrong.time.reason = Reason(Why.CLOCK, "it is 1970")
    with pytest.raises(Retryable, match="it is 1970"):
        await wrong.serve(ROUTES)
    wrong.roster.append(wrong.member)
    with pytest.raises(Retryable, match="it is 1970"):
        await wrong.client.call(wrong.member, *ECHO, b"")
    wrong.time.reason = NOTHING
    await wrong.serve(ROUTES)
    await wrong.aclose()


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

    return SiblingServer(Listener(bind="127.0.0.1", port=port), node.tls, ROUTES, SystemClock(), structlog.get_logger())


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
