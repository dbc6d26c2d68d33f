"""A real Git server on loopback: `git http-backend` behind aiohttp, with TLS and logins where asked.

    async with GitServer.start(root, tls=context, users={"store-01234": "password"}) as server:
        server.url("store-01234.git")

Every bare repository under `root` is served for reading. `server.requests` records what was asked;
`cut()` makes the port refuse connections, `mend()` brings the same port back.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

CHUNK = 64 * 1024


@dataclass(frozen=True)
class GitRequest:
    """One request. `query` tells the service; `protocol` is the Git-Protocol header; `user` is who logged in."""

    method: str
    path: str
    query: str
    protocol: str
    user: str
    status: int


@dataclass
class GitServer:
    """A running server. Address and port stay the same over `cut()` and `mend()`."""

    root: Path
    host: str
    port: int
    tls: ssl.SSLContext | None
    users: dict[str, str]
    requests: list[GitRequest] = field(default_factory=list)
    _git: str = ""
    _runner: web.AppRunner | None = None
    _site: web.TCPSite | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        root: Path,
        *,
        tls: ssl.SSLContext | None = None,
        users: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> AsyncIterator[GitServer]:
        """Serves until the block ends. With `users`, every request needs basic authentication."""
        git = shutil.which("git")
        if git is None:
            raise FileNotFoundError("git was not found on PATH")
        server = cls(root=root, host=host, port=port, tls=tls, users=dict(users or {}), _git=git)
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{tail:.*}", server._answer)
        server._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await server._runner.setup()
        try:
            await server.mend()
            yield server
        finally:
            await server._runner.cleanup()

    def url(self, repository: str = "") -> str:
        """The address of one repository under `root`, without credentials."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/{repository}"

    async def cut(self) -> None:
        """Refuses new connections from now on, and drops the open ones that idle."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
            assert self._runner is not None and self._runner.server is not None
            self._runner.server.pre_shutdown()

    async def mend(self) -> None:
        """Listens again, on the same port."""
        if self._site is None:
            assert self._runner is not None
            self._site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
            await self._site.start()
            self.port = self._runner.addresses[-1][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        if user is None:
            self._record(request, "", 401)
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'}, text="login needed\n")
        child = await asyncio.create_subprocess_exec(
            self._git,
            "http-backend",
            env=self._environment(request, user),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 20,
        )
        feeding = asyncio.create_task(_feed(request, child))
        try:
            response = await self._relay(request, child, user)
            await child.wait()  # before any kill: that would reap it behind the event loop's back
            return response
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
            await child.wait()

    def _environment(self, request: web.Request, user: str) -> dict[str, str]:
        # The body arrives here already unpacked and of unknown length, so no CONTENT_LENGTH: git reads to the end.
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "REMOTE_USER": user,
            "REMOTE_ADDR": request.remote or "",
        }

    async def _relay(self, request: web.Request, child: asyncio.subprocess.Process, user: str) -> web.StreamResponse:
        assert child.stdout is not None
        status, headers = 200, {}
        while line := (await child.stdout.readline()).decode("latin-1").strip():
            name, _, value = line.partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers[name] = value.strip()
        self._record(request, user, status)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        while chunk := await child.stdout.read(CHUNK):
            await response.write(chunk)
        await response.write_eof()
        return response

    def _user(self, request: web.Request) -> str | None:
        """Who asks: empty where no login is needed, None when it is missing or wrong."""
        if not self.users:
            return ""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        known = self.users.get(user, "")
        right = bool(known) and hmac.compare_digest(known.encode(), password.encode())
        return user if scheme.lower() == "basic" and right else None

    def _record(self, request: web.Request, user: str, status: int) -> None:
        protocol = request.headers.get("Git-Protocol", "")
        self.requests.append(GitRequest(request.method, request.path, request.query_string, protocol, user, status))


async def _feed(request: web.Request, child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    with contextlib.suppress(ConnectionError):
        async for chunk in request.content.iter_chunked(CHUNK):
            child.stdin.write(chunk)
            await child.stdin.drain()
    with contextlib.suppress(ConnectionError):
        child.stdin.close()
