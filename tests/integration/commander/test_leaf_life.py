"""How long a server's certificate lives, as it shows it on its port."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

from edge_commander.distribution.kubeadm.certs import client
from edge_commander.rotation.leaf import life
from edge_commander.secrets.authority import make_secrets
from tests.fakes.siblings import TurnedTime

DAY_MS = 24 * 3600 * 1000


async def test_the_life_of_what_is_shown_is_read_without_believing_it(tmp_path: Path) -> None:
    made = client(make_secrets("store-1", 1, TurnedTime()).cluster, "nuc-1", life=datetime.timedelta(days=30))
    pem = tmp_path / "server.pem"
    pem.write_text(made.cert + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        found = await life("127.0.0.1", port)
    assert found is not None
    assert 30 * DAY_MS <= found.end - found.begin <= 30 * DAY_MS + 600_000
    now = found.begin + 300_000
    assert not found.is_past(2 / 3, now) and found.is_past(2 / 3, now + 20 * DAY_MS)


async def test_a_port_that_shows_nothing_tells_nothing() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await life("127.0.0.1", port) is None
    assert await life("127.0.0.1", port) is None
