"""Who is no sibling, for tests: what strangers and dishonest members present, and how they try."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.contracts.identity import Member
from agents.contracts.ids import node_id
from agents.core.jose import SoftwareKey
from edge_commander.siblings.issuing import SignerKey, _builder, _usage, device_name, issue_leaf, public_key
from edge_commander.siblings.verify import BACKDATE_MS, LIFETIME_MS
from tests.fakes.siblings import Sibling


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
        return presented(folder, *_by_an_authority_of_its_own(victim, other))
    node, signer, made = {
        "stranger": (node_id("stranger"), stranger, now),
        "strange key": (victim.node, stranger, now),
        "another's name": (victim.node, other.keys.signer, now),
        "old": (victim.node, victim.keys.signer, now - LIFETIME_MS - 1000),
        "of the future": (victim.node, victim.keys.signer, now + BACKDATE_MS + 60_000),
    }[kind]
    return presented(folder, issue_leaf(node, signer, key.public_key(), made), key)


def _by_an_authority_of_its_own(victim: Sibling, other: Sibling) -> tuple[x509.Certificate, Any, x509.Certificate]:
    """Leaf for `victim`, its key, and the authority between it and the signing key of `other`."""
    now, key, between = victim.time.now_ms(), ec.generate_private_key(ec.SECP256R1()), SoftwareKey.generate()
    leaf = issue_leaf(victim.node, between, key.public_key(), now)
    authority = (
        _builder(device_name(victim.node), device_name(other.node), public_key(between.public))
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key(other.keys.signer.public)), critical=False
        )
        .sign(SignerKey(other.keys.signer), hashes.SHA256())
    )
    return leaf, key, authority


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
