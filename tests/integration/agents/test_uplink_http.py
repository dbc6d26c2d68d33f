"""The uplink against real HTTPS servers: trust, tokens, failover, cuts, odd answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from agents.contracts.codec import encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestRequest
from agents.contracts.messages import Alert, Beat, Severity
from agents.core.backoff import Backoff
from agents.core.errors import BatchRefused, Rejected, Retryable
from agents.core.settings import EndpointSettings
from agents.io.clock import SystemClock
from agents.io.outbox import SqliteOutbox
from agents.io.tls import client_context, server_context
from agents.io.uplink import HttpUplink, Sender
from agents.supervise.pulse import Pulse
from tests.fakes.endpoint import Endpoint, make_certificate, serve


def request(count: int = 1, text: str = "x") -> IngestRequest:
    body = encode(Alert(code="c", severity=Severity.INFO, text=text))
    messages = [Envelope(seq=n, t=1, m=msgspec.Raw(body)) for n in range(1, count + 1)]
    return IngestRequest(stream=Stream.VESSEL, run="0" * 16, messages=messages)


def settings(*urls: str, ca: Path | None = None) -> EndpointSettings:
    return EndpointSettings(urls=list(urls), issuer="https://issuer.example", ca_file=str(ca) if ca else None)


class Tokens:
    """Hands out one token after the other; stays with the last."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refused: list[str] = []

    async def token(self) -> str:
        return self.tokens[0]

    def refuse(self, token: str) -> None:
        self.refused.append(token)
        if len(self.tokens) > 1:
            self.tokens.pop(0)


@pytest.fixture
async def uplinks() -> AsyncIterator[Any]:
    made: list[HttpUplink] = []

    def make(where: EndpointSettings, tokens: Tokens | None = None, **options: Any) -> HttpUplink:
        tokens = tokens or Tokens("good")
        made.append(HttpUplink(where, tokens.token, refused=tokens.refuse, **options))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_batches_go_over_one_connection_and_large_ones_as_gzip(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any
) -> None:
    uplink = uplinks(settings(endpoint.url, ca=authority[0]))
    assert (await uplink.ingest(request(1, "long " * 50))).ack == 1
    assert (await uplink.ingest(request(200, "long " * 50))).ack == 200
    assert len(endpoint.connections) == 1
    small, large = endpoint.seen
    assert "Content-Encoding" not in small.headers and large.headers["Content-Encoding"] == "gzip"
    assert endpoint.bodies[1] > 50_000
    assert len(endpoint.cloud.runs["0" * 16].messages) == 200


async def test_an_unknown_certificate_and_a_wrong_name_are_refused(
    endpoint: Endpoint, tmp_path: Path, uplinks: Any
) -> None:
    other, _ = make_certificate(tmp_path, "other")
    with pytest.raises(Retryable, match="certificate refused"):
        await uplinks(settings(endpoint.url, ca=other)).ingest(request())
    assert not endpoint.seen, "nothing was said to a stranger"
    misnamed = Endpoint()
    files = make_certificate(tmp_path, "misnamed", "192.0.2.1")
    runner = await serve(misnamed, server_context(*files))
    try:
        with pytest.raises(Retryable, match="certificate refused"):
            await uplinks(settings(misnamed.url, ca=files[0])).ingest(request())
    finally:
        await runner.cleanup()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(tmp_path: Path, authority: tuple[Path, Path], uplinks: Any) -> None:
    context = server_context(*authority)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    old = Endpoint()
    runner = await serve(old, context)
    try:
        with pytest.raises(Retryable):
            await uplinks(settings(old.url, ca=authority[0])).ingest(request())
    finally:
        await runner.cleanup()


def test_certificate_files_that_are_none_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("hello")
    with pytest.raises(Rejected, match=r"bad\.pem.*no PEM certificate"):
        client_context(settings("https://x", ca=bad))
    with pytest.raises(Rejected, match=r"none\.pem.*cannot be read"):
        client_context(settings("https://x", ca=tmp_path / "none.pem"))
    with pytest.raises(Rejected, match=r"bad\.pem"):
        server_context(bad, bad)


async def test_a_refused_token_is_replaced_once(endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any) -> None:
    tokens = Tokens("old", "good")
    assert (await uplinks(settings(endpoint.url, ca=authority[0]), tokens).ingest(request())).ack == 1
    assert tokens.refused == ["old"] and len(endpoint.seen) == 2
    endpoint.tokens = set()
    with pytest.raises(Retryable, match="token was refused") as caught:
        await uplinks(settings(endpoint.url, ca=authority[0])).ingest(request())
    assert len(endpoint.seen) == 4 and "good" not in str(caught.value)


async def test_the_next_address_serves_when_the_first_does_not(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"https://127.0.0.1:{closed.getsockname()[1]}"
        uplink = uplinks(settings(dead, endpoint.url, ca=authority[0]))
        assert (await uplink.ingest(request())).ack == 1
        assert uplink._order() == [1, 0], "it stays with the one that served"
        uplink._since -= 301
        assert uplink._order() == [0, 1], "and after a while tries the preferred one again"
        with pytest.raises(Retryable, match="refused"):
            await uplinks(settings(dead)).ingest(request())


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BatchRefused), (413, BatchRefused), (422, BatchRefused), (403, Rejected), (404, Rejected), (302, Rejected),
     (500, Retryable), (503, Retryable), (429, Retryable)],
)  # fmt: skip
async def test_each_refusal_has_its_family(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any, status: int, error: type[Exception]
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": "7", "Location": "https://192.0.2.1/"}
        return web.json_response({"title": "No", "detail": "because"}, status=status, headers=headers)

    endpoint.meddle = refuse
    with pytest.raises(error, match=f"HTTP {status}.*because") as caught:
        await uplinks(settings(endpoint.url, ca=authority[0])).ingest(request())
    assert type(caught.value) is error
    if isinstance(caught.value, Retryable):
        assert caught.value.retry_after == 7
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"ack": -1}', b"x" * (5 * 1024 * 1024)])
async def test_a_malformed_or_endless_answer_settles_nothing(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any, body: bytes
) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    endpoint.meddle = odd
    with pytest.raises(Retryable, match=r"malformed|longer than"):
        await uplinks(settings(endpoint.url, ca=authority[0])).ingest(request())


async def test_a_silent_endpoint_is_given_up_in_time(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any
) -> None:
    async def silence(_: web.Request) -> None:
        await asyncio.sleep(30)

    endpoint.meddle = silence
    with pytest.raises(Retryable, match="no answer in time"):
        await uplinks(settings(endpoint.url, ca=authority[0]), timeout=0.5).ingest(request())


async def test_an_idle_connection_that_was_closed_is_no_failure(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any
) -> None:
    uplink = uplinks(settings(endpoint.url, ca=authority[0]))
    await uplink.ingest(request())
    for transport in list(endpoint.connections):
        transport.close()  # type: ignore[attr-defined]
    assert (await uplink.ingest(request())).ack == 1


async def test_outbox_to_cloud_through_cuts_and_lost_answers(
    endpoint: Endpoint, authority: tuple[Path, Path], uplinks: Any, tmp_path: Path
) -> None:
    """The whole way with real parts: every third request is cut before or after it was stored."""
    count = [0]

    async def cut(asked: web.Request) -> web.StreamResponse | None:
        count[0] += 1
        if count[0] % 3 == 1:
            assert asked.transport is not None
            asked.transport.abort()
        elif count[0] % 3 == 2:
            endpoint.meddle = None
            await endpoint.handle(asked)
            endpoint.meddle = cut
            assert asked.transport is not None
            asked.transport.abort()
        return None

    endpoint.meddle = cut
    clock = SystemClock()
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", Stream.HEARTBEAT, "boot", clock)
    for n in range(60):
        await outbox.put(Beat(boot="00000000", up=n, ok=1))
    sender = Sender(
        outbox, uplinks(settings(endpoint.url, ca=authority[0])), log=structlog.get_logger(),
        backoff=Backoff(base=0.01, cap=0.05), max_messages=10,
    )  # fmt: skip
    stopping = asyncio.Event()
    task = asyncio.create_task(sender.run(Pulse("sender", clock, stopping)))
    async with asyncio.timeout(60):
        while await outbox.pending():  # noqa: ASYNC110 - the sender is what changes it
            await asyncio.sleep(0.05)
    stopping.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(endpoint.cloud.runs[outbox.run].messages) == set(range(1, 61))
    assert endpoint.cloud.duplicates > 0, "answers were lost, and it was sent again"
    await outbox.aclose()
