"""`GET /v1/events`: what changes in the fleet, as server-sent events (WHATWG HTML, section 9.2).

A reader names the last event it has (`Last-Event-ID`, or `after=` at first); it gets what changed since then, or
`resync` when that is not known any more: then it reads `/v1/fleet/overview` anew. A slow or late reader is cut off and
comes back by itself.
"""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from agents.core.jose import SignatureRefused
from cloud_endpoint.app.io import read_query
from cloud_endpoint.app.services import Services, principal
from cloud_endpoint.page.fleet_view import Frame
from cloud_endpoint.page.headers import NO_STORE
from cloud_endpoint.page.hub import Behind, Hub
from cloud_endpoint.page.sessions import Sessions
from cloud_endpoint.page.settings import PageSettings
from cloud_endpoint.problem import Problem
from cloud_endpoint.requests import EventsQuery
from cloud_endpoint.store.port import StoreFault

LOGIN_SECONDS = 2.0
"""How often an open stream's login is looked at again; design allows 5 s."""
GONE_SECONDS = 0.5
"""How soon a reader that left gives its place back."""
WRITE_SECONDS = 5.0
"""How long a reader may leave an event untaken."""
RETRY_MS = 2000


class Events:
    """The handler and its streams."""

    def __init__(self, services: Services, hub: Hub, sessions: Sessions, settings: PageSettings) -> None:
        self._services = services
        self._hub = hub
        self._sessions = sessions
        self._settings = settings
        self._open = 0
        self._gauge = services.metrics.gauge("galley_endpoint_streams", "Open event streams.")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Until the reader leaves, its login ends, or the endpoint stops."""
        if self._open >= self._settings.clients:
            raise Problem(503, "too many open event streams", headers={"Retry-After": "10"})
        self._open += 1
        self._gauge.set(self._open)
        response = web.StreamResponse(headers={**NO_STORE, "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        try:
            await response.prepare(request)
            await self._write(request, response, f"retry: {RETRY_MS}\n\n".encode())
            await self._follow(request, response)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader left
        finally:
            self._open -= 1
            self._gauge.set(self._open)
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse) -> None:
        only, now = principal(request).site, self._services.clock.monotonic
        version = self._position(request)
        first = self._hub.view.since(version, self._services.clock.wall_ms()) if version >= 0 else None
        if first is None:
            await self._write(request, response, b"event: resync\ndata: {}\n\n")
            return
        await self._write(request, response, self._event(first, only))
        version, written, looked = first.version, now(), now()
        while not self._services.stopping.is_set():
            try:
                frame = await self._hub.after(version, min(GONE_SECONDS, self._settings.keepalive_seconds))
            except Behind:
                return
            if request.transport is None or request.transport.is_closing():
                return
            if now() - looked >= LOGIN_SECONDS:
                if not await self._still_logged_in(request):
                    return
                looked = now()
            if frame is not None:
                version = frame.version
                if frame.concerns(only):
                    await self._write(request, response, self._event(frame, only))
                    written = now()
            if now() - written >= self._settings.keepalive_seconds:
                await self._write(request, response, b": alive\n\n")
                written = now()

    def _event(self, frame: Frame, only: str | None) -> bytes:
        name = f"{self._hub.epoch}.{frame.version}"
        return b"id: " + name.encode() + b"\nevent: change\ndata: " + frame.encode(only) + b"\n\n"

    def _position(self, request: web.Request) -> int:
        """The version that the reader has; the present one when it names none, -1 when it is another process's."""
        named = request.headers.get("Last-Event-ID") or read_query(request, EventsQuery).after
        if not named:
            return self._hub.view.version
        epoch, _, version = named.partition(".")
        known = epoch == self._hub.epoch and version.isascii() and version.isdigit() and len(version) < 16
        return int(version) if known else -1

    async def _still_logged_in(self, request: web.Request) -> bool:
        header = request.headers.get(hdrs.AUTHORIZATION)
        try:
            if header is None:
                session = await self._sessions.of(request)
                return session is not None and f"op:{session.operator}" == principal(request).subject
            self._services.issuer.verify(header.partition(" ")[2].strip(), self._services.clock.wall_ms())
        except SignatureRefused:
            return False
        except StoreFault:
            return True  # looked at again in 2 s
        return True

    async def _write(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        """Raises ConnectionError when the reader left, or does not take it: then the connection is cut."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)
        except TimeoutError:
            self._services.metrics.counter("galley_endpoint_streams_cut_total", "Slow readers cut off.").inc()
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the reader is too slow") from None
