"""The health and metrics port: `/healthz` and `/metrics` over HTTP. A taken port is tried again, not fatal."""

from __future__ import annotations

import msgspec
from aiohttp import web

from agents.core.errors import Retryable
from agents.core.settings import Listener
from agents.supervise.context import Context
from agents.supervise.health import Health
from agents.supervise.metrics import CONTENT_TYPE, Metrics
from agents.supervise.pulse import Pulse

RETRY = 10.0
"""Seconds between tries to take the port."""


class HealthPort:
    """The listener's server."""

    def __init__(self, listener: Listener, health: Health, metrics: Metrics) -> None:
        self._listener = listener
        self._health = health
        self._metrics = metrics
        self._runner: web.ServerRunner | None = None

    async def open(self) -> None:
        """Takes the port; raises Retryable when it is taken or may not be used."""
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._listener.bind, self._listener.port).start()
        except OSError as error:
            await runner.cleanup()
            raise Retryable(
                f"health port {self._listener.bind}:{self._listener.port}: {error.strerror or 'cannot be taken'}"
            ) from None
        self._runner = runner

    async def aclose(self) -> None:
        """Gives the port back."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        headers = {"Cache-Control": "no-store"}
        if request.path == "/healthz":
            body = msgspec.json.encode(self._health.document())
            status = 200 if self._health.ok else 503
            return web.Response(body=body, status=status, content_type="application/json", headers=headers)
        if request.path == "/metrics":
            for name, component in self._health.components.items():
                self._metrics.gauge("galley_component_ok", "1 while the component is well.", component=name).set(
                    component.ok
                )
            return web.Response(body=self._metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE, **headers})
        return web.Response(status=404)


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
