"""The commander's HTTP client against real TLS servers: certificates of another time, failover, redirects, rubbish."""

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.core.errors import Rejected, Retryable
from agents.core.settings import EndpointSettings
from agents.io.clock import SystemClock
from agents.io.tls import client_context
from edge_commander.cloud import ClockSuspect, Cloud, TokenRefused
from edge_commander.console.ask import ask

DAY = datetime.timedelta(days=1)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def certificate(folder: Path, begins: datetime.datetime, ends: datetime.datetime) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1; returns certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    import ipaddress

    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@asynccontextmanager
async def serving(cert: Path, key: Path, handler: Handler) -> AsyncIterator[str]:
    """An HTTPS server on a free port whose every path is `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await web.SockSite(runner, sock, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(ca: Path, *urls: str) -> AsyncIterator[tuple[Cloud, list[int]]]:
    heard: list[int] = []
    endpoint = EndpointSettings(urls=list(urls), issuer="https://issuer", ca_file=str(ca))
    cloud = Cloud(endpoint, client_context(endpoint), SystemClock(), heard.append)
    try:
        yield cloud, heard
    finally:
        await cloud.aclose()


@pytest.fixture
def good(tmp_path: Path) -> tuple[Path, Path]:
    now = datetime.datetime.now(datetime.UTC)
    return certificate(tmp_path, now - DAY, now + DAY)


async def nothing(request: web.Request) -> web.Response:
    return web.json_response({})


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_certificate_of_another_time_points_at_the_clock(tmp_path: Path, years: int) -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * years)
    cert, key = certificate(tmp_path, then, then + DAY)
    async with serving(cert, key, nothing) as url, client(cert, url) as (cloud, heard):
        with pytest.raises(ClockSuspect):
            await cloud.token({})
        assert heard == []  # what an unverified server says of the time is not heard


async def test_a_foreign_certificate_is_not_the_clocks_fault(tmp_path: Path, good: tuple[Path, Path]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    ca, _ = certificate(other, now - DAY, now + DAY)
    async with serving(*good, nothing) as url, client(ca, url) as (cloud, _heard):
        with pytest.raises(Retryable, match="certificate") as error:
            await cloud.token({})
        assert not isinstance(error.value, ClockSuspect)


async def test_the_next_address_serves_and_is_kept(good: tuple[Path, Path]) -> None:
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"access_token": "x", "expires_in": 600, "scope": "s"})

    async with serving(*good, token) as url, client(good[0], "https://127.0.0.1:1", url) as (cloud, heard):
        for _ in range(2):
            assert (await cloud.token({"scope": "s"})).access_token == "x"
        assert asked == ["/v1/token"] * 2
        assert abs(heard[-1] - SystemClock().wall_ms()) < 5000


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 2020 00:00:00 +" + "9" * 30, "Mon, 01 Jan 99999999999 00:00:00 GMT", "yesterday", ""]
)
async def test_a_date_that_is_none_is_not_heard_and_ends_nothing(good: tuple[Path, Path], date: str) -> None:
    """Any answer of an endpoint in wrong hands ended the commander, at each start anew."""

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "x", "expires_in": 600, "scope": "s"}, headers={"Date": date})

    async with serving(*good, token) as url, client(good[0], url) as (cloud, heard):
        assert (await cloud.token({"scope": "s"})).access_token == "x"
        assert heard == []


@pytest.mark.parametrize("text", ["a\r\nX-Site: other", "a b", "", "é"])
async def test_a_token_that_no_header_takes_is_none(good: tuple[Path, Path], text: str) -> None:
    """It would be handed to every daemon of the node, and end each by its first request."""

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": text, "expires_in": 600, "scope": "s"})

    async with serving(*good, token) as url, client(good[0], url) as (cloud, _heard):
        with pytest.raises(Retryable, match="access_token is none"):
            await cloud.token({"scope": "s"})


async def test_a_redirect_is_never_followed(good: tuple[Path, Path]) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        raise web.HTTPTemporaryRedirect("/stolen")

    async with serving(*good, elsewhere) as url, client(good[0], url) as (cloud, _heard):
        with pytest.raises((Rejected, Retryable)):
            await cloud.token({"client_assertion": "secret"})
        with pytest.raises((Rejected, Retryable)):
            await cloud.site("secret")
    assert "/stolen" not in seen


@pytest.mark.parametrize(
    ("status", "body", "family"),
    [
        (200, b"{", Retryable),
        (200, b"\xff\xfe", Retryable),
        (500, b"oops", Retryable),
        (503, b"", Retryable),
        (401, b'{"title": "invalid_client"}', TokenRefused),
        (400, b"", TokenRefused),
        (404, b"", Rejected),
    ],
)
async def test_answers_become_the_two_families(
    good: tuple[Path, Path], status: int, body: bytes, family: type[Exception]
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with serving(*good, handler) as url, client(good[0], url) as (cloud, heard):
        with pytest.raises(family) as error:
            await cloud.token({"client_assertion": "secret"})
        assert "secret" not in str(error.value)
        assert heard  # also an error tells the time


async def test_a_server_that_never_answers_is_left(good: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_commander import cloud as module

    monkeypatch.setattr(module, "TIMEOUT", 0.5)

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with serving(*good, slow) as url, client(good[0], url) as (cloud, _heard):
        with pytest.raises(Retryable, match="in time"):
            await cloud.commands("t", 0, 0.0)


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end(good: tuple[Path, Path]) -> None:
    body = b'{"access_token": "' + b"x" * 300_000 + b'", "expires_in": 600, "scope": "s"}'

    async with serving(*good, in_pieces(body)) as url, client(good[0], url) as (cloud, _heard):
        assert len((await cloud.token({"scope": "s"})).access_token) == 300_000


async def test_an_answer_without_end_is_not_read(good: tuple[Path, Path]) -> None:
    async with serving(*good, in_pieces(b"x" * (5 * 1024 * 1024))) as url, client(good[0], url) as (cloud, _heard):
        with pytest.raises(Retryable, match="longer than"):
            await cloud.token({"scope": "s"})


async def test_the_status_command_reads_an_answer_that_comes_in_pieces(tmp_path: Path) -> None:
    body = b'{"state": "ready", "reason": "' + b"x" * 1000 + b'", "since": 1, "node": null, "site": null'
    body += b', "clock_ok": true, "pending": 0}'
    app = web.Application()
    app.router.add_get("/v1/status", in_pieces(body))
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    path = tmp_path / "identity.sock"
    await web.UnixSite(runner, str(path)).start()
    try:
        shown = await asyncio.to_thread(ask, path)
    finally:
        await runner.cleanup()
    assert shown is not None and len(shown.reason) == 1000


def in_pieces(body: bytes) -> Handler:
    """Answers with `body` in two pieces, the second a moment later."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # a client that had enough
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.1)
            await response.write(body[len(body) // 2 :])
        return response

    return handler
