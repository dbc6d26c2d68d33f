"""The HTTP step: one request on a connection of its own, as an app's first one: name, TCP, TLS, answer, body."""

from __future__ import annotations

import ssl

from agents.core.ports import Clock
from agents.io.http_library import aiohttp, load
from synthetic_client.scenario import Http
from synthetic_client.steps.base import network_failure
from synthetic_client.tally import Kind, StepFailed

MAX_BODY = 1024 * 1024
_CHUNK = 64 * 1024


class HttpRunner:
    """Runs an Http step."""

    def __init__(self, step: Http, clock: Clock) -> None:
        self._step = step
        self._clock = clock
        self._wanted = step.body_contains.encode()

    async def run(self) -> float:
        """From before the name is looked up until the body is read."""
        load()  # the first run's latency is not that of an import
        started = self._clock.monotonic()
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=self._context(), force_close=True),
                    timeout=aiohttp.ClientTimeout(total=None),  # the step's own time is around all of it
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.request(self._step.method, self._step.url, allow_redirects=False) as response,
            ):
                body = await _read(response)
                status = response.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise network_failure(error) from None
        seconds = self._clock.monotonic() - started
        if status not in self._step.status:
            raise StepFailed(Kind.STATUS, f"HTTP {status}, wanted {' or '.join(map(str, self._step.status))}")
        if self._wanted not in body:
            raise StepFailed(Kind.BODY, f"the body ({len(body)} bytes) does not contain the text")
        return seconds

    async def aclose(self) -> None:
        """Holds nothing."""

    def _context(self) -> ssl.SSLContext | bool:
        if self._step.ca_file is None and not self._step.url.startswith("https:"):
            return True
        try:
            return ssl.create_default_context(cafile=self._step.ca_file)
        except OSError as error:
            raise StepFailed(Kind.TLS, f"{self._step.ca_file}: {error.strerror or 'holds no certificate'}") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) >= MAX_BODY:
            return bytes(body[:MAX_BODY])
    return bytes(body)
