"""Carries batches to the cloud endpoint over HTTPS: one persistent connection, failover along `endpoint.urls`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.core.errors import BatchRefused, Retryable
from agents.core.ports import Clock
from agents.core.proxy import through
from agents.core.settings import EndpointSettings
from agents.io.clock import SystemClock
from agents.io.http import cause, failure, read_limited
from agents.io.http_library import aiohttp
from agents.io.sender import LogOnlySender, Sender
from agents.io.tls import client_context

__all__ = ["HttpUplink", "LogOnlySender", "Sender"]

MAX_ANSWER = 4 * 1024 * 1024
COMPRESS_FROM = 1024
"""Bodies of so many bytes and more travel as gzip."""
PREFERRED_AGAIN = 300.0
"""Seconds after which the first address is tried again when another one served."""
BATCH_STATUS = frozenset({400, 413, 422})
"""Answers that speak of the batch; other refusals (403, 404) speak of the node or the place."""


class HttpUplink:
    """Uplink port over `POST /v1/ingest`. `token` gives a valid access token; `refused` is told of one that was not.

    `timeout` in s, per request. To be closed with `aclose`.
    """

    def __init__(
        self,
        endpoint: EndpointSettings,
        token: Callable[[], Awaitable[str]],
        *,
        refused: Callable[[str], None] | None = None,
        clock: Clock | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._refused = refused
        self._clock = clock or SystemClock()
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._current = 0
        self._since = 0.0

    async def ingest(self, request: IngestRequest) -> IngestAnswer:
        """Raises Retryable when no address can be reached or is busy, BatchRefused or Rejected when refused."""
        body = encode(request)
        token = await self._token()
        last: Retryable | None = None
        for index in self._order():
            url = self._endpoint.urls[index].rstrip("/") + "/v1/ingest"
            try:
                try:
                    answer = await self._post(url, token, body)
                except _TokenRefused:
                    if self._refused is not None:
                        self._refused(token)
                    token = await self._token()
                    answer = await self._post(url, token, body)
            except Retryable as error:
                last = error
                continue
            if index != self._current:
                self._current, self._since = index, self._clock.monotonic()
            return answer
        raise last or Retryable("cloud endpoint: no address")

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _order(self) -> list[int]:
        """The address that served last, then all others by preference; the first one again after a while."""
        everything = list(range(len(self._endpoint.urls)))
        if self._current and self._clock.monotonic() - self._since >= PREFERRED_AGAIN:
            self._since = self._clock.monotonic()
            return everything
        return [self._current, *(index for index in everything if index != self._current)]

    async def _post(self, url: str, token: str, body: bytes) -> IngestAnswer:
        session = self._open()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        compress = "gzip" if len(body) >= COMPRESS_FROM else None
        post = partial(
            session.post, url, data=body, headers=headers, compress=compress, allow_redirects=False,
            proxy=through(self._endpoint, url),
        )  # fmt: skip
        try:
            try:
                status, answer_headers, data = await _exchange(post)
            except aiohttp.ServerDisconnectedError:  # an idle connection that the other side had closed
                status, answer_headers, data = await _exchange(post)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"cloud endpoint: {cause(error)}") from None
        if status == 401:
            raise _TokenRefused("cloud endpoint: the token was refused")
        if status != 200:
            refusal = failure("cloud endpoint", status, answer_headers, data, self._clock.wall_ms())
            raise BatchRefused(str(refusal)) if status in BATCH_STATUS else refusal
        try:
            return decode(data, IngestAnswer)
        except ContractError as error:
            raise Retryable(f"cloud endpoint: the answer is malformed: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            secure = any(url.startswith("https:") for url in self._endpoint.urls)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=2,
                    keepalive_timeout=75.0,
                    ssl=client_context(self._endpoint) if secure else True,
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=min(10.0, self._timeout)),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _TokenRefused(Retryable):
    """401: a new token may be good."""


async def _exchange(
    post: Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]],
) -> tuple[int, dict[str, str], bytes]:
    async with post() as answer:
        data = await read_limited(answer, MAX_ANSWER)
        return answer.status, dict(answer.headers.items()), data
