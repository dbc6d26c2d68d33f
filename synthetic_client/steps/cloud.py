"""The cloud step: random bytes to the endpoint's echo and back, by this role's token."""

from __future__ import annotations

import secrets

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock, Identity
from agents.core.proxy import through
from agents.core.settings import EndpointSettings
from agents.io.http_library import aiohttp, load
from agents.io.tls import client_context
from synthetic_client.scenario import Cloud
from synthetic_client.steps.base import network_failure
from synthetic_client.tally import Kind, StepFailed


class CloudRunner:
    """Runs a Cloud step. The first of the endpoint's URLs that takes the connection answers."""

    def __init__(self, step: Cloud, endpoint: EndpointSettings | None, identity: Identity, clock: Clock) -> None:
        self._step = step
        self._endpoint = endpoint
        self._identity = identity
        self._clock = clock

    async def run(self) -> float:
        """From the request, the token at hand, until the bytes are back and compared."""
        if self._endpoint is None:
            raise StepFailed(Kind.WAITING, "no endpoint is configured")
        try:
            token = await self._identity.token()
        except Retryable as error:
            raise StepFailed(Kind.WAITING, f"no token: {error}") from None
        except Rejected as error:
            raise StepFailed(Kind.DENIED, f"no token: {error}") from None
        failure = StepFailed(Kind.CONNECT, "no URL")
        for url in self._endpoint.urls:
            try:
                return await self._echo(url.rstrip("/") + "/v1/echo", token)
            except StepFailed as error:
                failure = error
                if error.kind is not Kind.CONNECT:
                    break
        raise failure

    async def _echo(self, url: str, token: str) -> float:
        assert self._endpoint is not None
        load()  # the first run's latency is not that of an import
        sent = secrets.token_bytes(self._step.bytes)
        started = self._clock.monotonic()
        try:
            context = client_context(self._endpoint)
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, force_close=True),
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as session,
                session.post(
                    url,
                    data=sent,
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"},
                    allow_redirects=False,
                    proxy=through(self._endpoint, url),
                ) as response,
            ):
                status, received = response.status, bytearray()
                async for chunk in response.content.iter_any():
                    received += chunk
                    if status != 200 or len(received) > len(sent):
                        break
        except Rejected as error:
            raise StepFailed(Kind.TLS, str(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise network_failure(error) from None
        self._judge(status, received == sent, token)
        return self._clock.monotonic() - started

    def _judge(self, status: int, is_same: bool, token: str) -> None:
        if status in (401, 403):
            if status == 401 and (refused := getattr(self._identity, "refused", None)) is not None:
                refused(token)
            raise StepFailed(Kind.DENIED, f"HTTP {status}")
        if status != 200:
            raise StepFailed(Kind.STATUS, f"HTTP {status}, wanted 200")
        if not is_same:
            raise StepFailed(Kind.BODY, "other bytes came back")

    async def aclose(self) -> None:
        """Holds nothing."""
