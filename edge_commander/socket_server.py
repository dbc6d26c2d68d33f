"""The identity socket: HTTP over unix, who asks is known by SO_PEERCRED (unix(7)). Touches the socket files.

A socket is bound under a temporary name, given its mode and renamed into place: never a moment with wrong
permissions, and a stale file is replaced. Callers are local and still bounded: size, number, patience.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from structlog.typing import FilteringBoundLogger

from agents.contracts.codec import encode
from agents.contracts.identity import Role
from agents.core.errors import GalleyError, Retryable
from edge_commander import peer
from edge_commander.access import Caller, Route, caller

MAX_LINE = 2048
MAX_CONNECTIONS_PER_UID = 64
FIRST_REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 8.0
"""Less than the clients' patience, so that they hear why."""
KEEPALIVE_SECONDS = 75.0

Answer = Callable[[Caller, bool], Awaitable[Any]]
"""Answers one route: who asks, and whether past the cache. Returns a contract value; raises the two families."""


@dataclass
class Door:
    """One socket. `role` None: SO_PEERCRED decides by `roles`; else it is that role's own."""

    path: Path
    mode: int
    role: Role | None = None
    identity: tuple[int, int] | None = None  # device and inode of the file we made
    server: asyncio.AbstractServer | None = None


@dataclass
class Guard:
    """Counts connections by uid, and closes those that say nothing."""

    connections: Counter[int] = field(default_factory=Counter)


class _Handler(RequestHandler):
    """aiohttp's handler, with a limit on connections of one uid and on the wait for a first request."""

    __slots__ = ("_guard", "_patience", "peer", "role", "served")

    def __init__(self, manager: Any, guard: Guard, role: Role | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=32,
            lingering_time=1.0,
        )
        self._guard = guard
        self._patience: asyncio.TimerHandle | None = None
        self.peer = -1
        self.role = role
        self.served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = peer_uid(transport)
        self._guard.connections[self.peer] += 1
        if self._guard.connections[self.peer] > MAX_CONNECTIONS_PER_UID or self.peer < 0:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._patience = self._loop.call_later(FIRST_REQUEST_SECONDS, self._impatient)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.connections[self.peer] -= 1
        if self._guard.connections[self.peer] <= 0:
            del self._guard.connections[self.peer]
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def _impatient(self) -> None:
        if not self.served:
            self.force_close()


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """The uid at the other end when it connected; -1 when the kernel does not say."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return -1
    return peer.peer_uid(sock)


class IdentitySocket:
    """Serves `routes` on every door. `start` binds; `check` puts back a socket file that somebody removed."""

    def __init__(
        self,
        doors: list[Door],
        roles: Mapping[int, Role],
        routes: Mapping[Route, Answer],
        log: FilteringBoundLogger,
    ) -> None:
        self._doors = doors
        self._roles = dict(roles)
        self._routes = dict(routes)
        self._log = log
        self._guard = Guard()
        self._runner: web.AppRunner | None = None
        self.answered = 0
        self.denied = 0

    async def start(self) -> None:
        """Binds every door; raises Retryable when a directory cannot be written."""
        app = web.Application(client_max_size=1024)
        for route in self._routes:
            app.router.add_get(route.value, self._serve)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        for door in self._doors:
            await self._open(door)

    async def check(self) -> None:
        """Opens again what is gone or was replaced; raises Retryable."""
        for door in self._doors:
            if door.identity != _identity(door.path):
                self._log.warning("the socket file was gone; made anew", path=str(door.path))
                await self._open(door)

    async def aclose(self) -> None:
        """Closes all doors and removes their files."""
        for door in self._doors:
            if door.server is not None:
                door.server.close()
            if door.identity is not None and door.identity == _identity(door.path):
                door.path.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _open(self, door: Door) -> None:
        if door.server is not None:
            door.server.close()
        try:
            sock = _bind(door.path, door.mode)
        except OSError as error:
            raise Retryable(f"{door.path}: cannot listen: {error.strerror or error}") from None
        loop = asyncio.get_running_loop()
        runner = self._runner
        assert runner is not None and runner.server is not None
        door.server = await loop.create_unix_server(
            lambda: _Handler(runner.server, self._guard, door.role, loop), sock=sock
        )
        door.identity = _identity(door.path)

    async def _serve(self, request: web.Request) -> web.Response:
        handler = request.protocol
        assert isinstance(handler, _Handler)
        handler.served = True
        who = caller(handler.peer, self._roles, own_uid=os.getuid(), socket_role=handler.role)
        route = Route(request.path)
        if not who.may(route):
            self.denied += 1
            self._log.warning("denied", audit=True, uid=who.uid, role=who.role, route=route.value)
            return _problem(403, "forbidden", f"uid {who.uid} may not ask for {route.value}")
        past_cache = "no-cache" in request.headers.get("Cache-Control", "")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                value = await self._routes[route](who, past_cache)
        except TimeoutError:
            return _problem(503, "not in time", "the endpoint has not answered yet", 1.0)
        except Retryable as error:
            return _problem(503, "not available yet", str(error), error.retry_after or 5.0)
        except GalleyError as error:
            return _problem(409, "refused", str(error))
        self.answered += 1
        return web.Response(body=encode(value), content_type="application/json", headers={"Cache-Control": "no-store"})


def _bind(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.bind(str(temporary))
        temporary.chmod(mode)
        sock.listen(128)
        temporary.rename(path)
    except OSError:
        sock.close()
        temporary.unlink(missing_ok=True)
        raise
    return sock


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _problem(status: int, title: str, detail: str, wait: float | None = None) -> web.Response:
    body = encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
    return web.Response(status=status, body=body, content_type="application/problem+json", headers=headers)
