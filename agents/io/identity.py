"""The identity socket as a client sees it: tokens, the site document and Git credentials over a unix socket.

A token is kept until it ends: with the socket gone the daemon works on, then queues.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

from agents.contracts.codec import ContractError, decode
from agents.contracts.identity import GitCredential, SiteDocument, TokenAnswer
from agents.core.errors import Retryable
from agents.core.ports import Clock
from agents.io.clock import SystemClock
from agents.io.http import cause, failure, read_limited
from agents.io.http_library import aiohttp

T = TypeVar("T")
MAX_ANSWER = 4 * 1024 * 1024
MARGIN = 60.0
"""A token is renewed this many seconds before its end (or at three quarters of a shorter life)."""


class SocketIdentity:
    """Identity port over `socket_path`. To be closed with `aclose`. `timeout` in s per request."""

    def __init__(self, socket_path: Path | str, *, clock: Clock | None = None, timeout: float = 10.0) -> None:
        self._path = Path(socket_path)
        self._clock = clock or SystemClock()
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._renew_at = self._ends_at = 0.0
        self._lock = asyncio.Lock()
        self._refused = False

    async def token(self) -> str:
        """A valid access token with this role's scope. Raises Retryable while there is none."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._token is not None and now < self._renew_at:
                return self._token
            try:
                answer = await self._get("/v1/token", TokenAnswer, fresh=self._refused)
            except Retryable:
                if self._token is not None and now < self._ends_at:
                    return self._token
                raise
            self._token, self._refused = answer.access_token, False
            life = max(0.0, float(answer.expires_in))
            self._ends_at = now + life
            self._renew_at = now + max(life * 0.75, life - MARGIN)
            return self._token

    def refused(self, token: str) -> None:
        """The endpoint refused this token (401): the next call fetches a new one, past the socket's own cache."""
        if token == self._token:
            self._token, self._refused = None, True

    async def site(self) -> SiteDocument:
        """The site document. Raises Retryable while the node is not enrolled or the socket is gone."""
        return await self._get("/v1/site", SiteDocument)

    async def git_credential(self) -> GitCredential:
        """A short-lived Git credential. Raises Retryable, or Rejected where this role may not have one."""
        return await self._get("/v1/git-credential", GitCredential)

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, path: str, type_: type[T], *, fresh: bool = False) -> T:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(self._path), limit=2),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                auto_decompress=False,
            )
        what = f"identity socket {path}"
        headers = {"Cache-Control": "no-cache"} if fresh else {}
        try:
            async with self._session.get(f"http://identity{path}", headers=headers, allow_redirects=False) as answer:
                body = await read_limited(answer, MAX_ANSWER)
                if answer.status != 200:
                    raise failure(what, answer.status, answer.headers, body, self._clock.wall_ms())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"{what}: {self._path}: {cause(error)}") from None
        try:
            return decode(body, type_)
        except ContractError as error:
            raise Retryable(f"{what}: the answer is malformed: {error}") from None
