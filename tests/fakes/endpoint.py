"""Certificates made on the spot, and an HTTP server around the cloud in memory."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.contracts.codec import decode, encode
from agents.contracts.ingest import IngestRequest
from tests.fakes.cloud import FakeCloud


def make_certificate(directory: Path, name: str, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate for `address`; returns the files of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = directory / f"{name}.pem", directory / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@dataclass
class Endpoint:
    """A server that takes `POST /v1/ingest` as the cloud does; `meddle` may answer in its place."""

    cloud: FakeCloud = field(default_factory=FakeCloud)
    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {"good"})
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    meddle: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
    connections: set[object] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.connections.add(request.transport)
        if self.meddle is not None and (answer := await self.meddle(request)) is not None:
            return answer
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.json_response({"title": "Unauthorized", "status": 401}, status=401)
        data = await request.read()
        self.bodies.append(len(data))
        answered = self.cloud.take(decode(data, IngestRequest))
        return web.Response(body=encode(answered), content_type="application/json")


async def serve(endpoint: Endpoint, context: ssl.SSLContext | None, port: int = 0) -> web.AppRunner:
    """Starts it on a free loopback port and notes its address."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/v1/ingest", endpoint.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    number = runner.addresses[0][1]
    endpoint.url = f"{'https' if context else 'http'}://127.0.0.1:{number}"
    return runner
