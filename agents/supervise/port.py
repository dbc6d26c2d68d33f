"""The health and metrics port: `/healthz` and `/metrics` over HTTP. A taken port is tried again, not fatal.

aiohttp is loaded when the first connection comes, since nobody asks while a machine starts; and no more of it than what
takes one: `aiohttp.web`, with its applications, routes, files and WebSockets, is the commander's alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from agents.core.errors import Retryable
from agents.core.settings import Listener
from agents.io.http_library import load
from agents.supervise.context import Context
from agents.supervise.health import Health
from agents.supervise.metrics import CONTENT_TYPE, Metrics
from agents.supervise.pulse import Pulse

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_request import BaseRequest
    from aiohttp.web_response import StreamResponse
    from aiohttp.web_server import Server

RETRY = 10.0
"""Seconds between tries to take the port."""
CLOSING = 0.5
"""Seconds for answers that are under way when the port is given back."""
BACKLOG = 128


class HealthPort:
    """The listener's server."""

    def __init__(self, listener: Listener, health: Health, metrics: Metrics) -> None:
        self._listener = listener
        self._health = health
        self._metrics = metrics
        self._server: Server | None = None
        self._listens: asyncio.Server | None = None

    async def open(self) -> None:
        """Takes the port; raises Retryable when it is taken or may not be used."""
        loop = asyncio.get_running_loop()
        try:
            self._listens = await loop.create_server(
                self._connection, self._listener.bind, self._listener.port, backlog=BACKLOG
            )
        except OSError as error:
            raise Retryable(
                f"health port {self._listener.bind}:{self._listener.port}: {error.strerror or 'cannot be taken'}"
            ) from None

    def _connection(self) -> RequestHandler:
        if self._server is None:
            load()
            from aiohttp.web_server import Server

            self._server = Server(self._answer, access_log=None)
        return self._server()

    async def aclose(self) -> None:
        """Gives the port back."""
        if self._listens is None:
            return
        self._listens.close()
        await asyncio.sleep(0)  # who was just let in begins
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(CLOSING)
        self._listens = self._server = None

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        from aiohttp.web_response import Response

        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers={"Allow": "GET, HEAD"})
        headers = {"Cache-Control": "no-store"}
        if request.path == "/healthz":
            body = msgspec.json.encode(self._health.document())
            status = 200 if self._health.ok else 503
            return Response(body=body, status=status, content_type="application/json", headers=headers)
        if request.path == "/metrics":
            for name, component in self._health.components.items():
                self._metrics.gauge("galley_component_ok", "1 while the component is well.", component=name).set(
                    component.ok
                )
            return Response(body=self._metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE, **headers})
        return Response(status=404)


async def keep_open(context: Context[msgspec.Struct], listener: Listener, pulse: Pulse) -> None:
    """The loop that takes the port, or says why not and tries again, until the daemon ends."""
    port = HealthPort(listener, context.health, context.metrics)
    said = ""
    while not pulse.stopping:
        try:
            await port.open()
            break
        except Retryable as error:
            if str(error) != said:
                said = str(error)
                context.log.warning("runs without its health port", cause=said, retry_seconds=RETRY)
            context.notifier.status(f"{said}; {context.health.line()}")
        await pulse.sleep(RETRY)
    else:
        return
    context.stack.push_async_callback(port.aclose)
    if said:
        context.log.info("health port taken after all", bind=listener.bind, port=listener.port)
    pulse.done()
    await context.stopping.wait()
