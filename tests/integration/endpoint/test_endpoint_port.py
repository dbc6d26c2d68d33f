"""The endpoint's own port: taken by somebody else, and given back."""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from structlog.testing import CapturingLogger

from agents.supervise.health import Health
from agents.supervise.pulse import Pulse
from cloud_endpoint.loop import PORT_SECONDS, Server, worth_saying
from cloud_endpoint.settings import Tls
from tests.fakes.clock import VirtualClock


def test_a_failed_try_is_said_ever_more_rarely_but_never_for_the_last_time() -> None:
    said = [tries for tries in range(1, 1300) if worth_saying(tries)]
    assert said == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 600, 900, 1200]


async def test_a_taken_port_is_bad_health_few_lines_and_served_once_it_is_free() -> None:
    clock, stopping = VirtualClock(), asyncio.Event()
    health, log = Health(clock), CapturingLogger()
    services: Any = SimpleNamespace(stopping=asyncio.Event(), topics=SimpleNamespace(wake_all=lambda: None))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tls = Tls(bind="127.0.0.1", port=port, cert_file="", key_file="")
        server = Server(web.Application(), tls, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), services)
        task = asyncio.create_task(server.run(Pulse("serve", clock, stopping), health, log))  # type: ignore[arg-type]
        await clock.advance(PORT_SECONDS * 99)
        assert not health.ok
        assert health.line() == f"tls: cannot listen, serves nobody: 127.0.0.1:{port}: Address already in use"
        assert [call.kwargs["tries"] for call in log.calls] == [1, 2, 4, 8, 16, 32, 64]
    await clock.advance(PORT_SECONDS)
    assert health.line() == f"tls: serves 127.0.0.1:{port}"
    assert log.calls[-1].args == ("serves",)
    stopping.set()
    await clock.advance(PORT_SECONDS)
    await asyncio.wait_for(task, 5)
    await server.aclose()
