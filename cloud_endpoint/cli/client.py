"""The API as an operator speaks it: private_key_jwt login, then one request."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from agents.core.assertion import token_form
from agents.core.errors import ConfigError, Rejected, Retryable
from agents.core.settings import EndpointSettings
from agents.io.http import cause, problem_detail, problem_text, read_limited
from agents.io.tls import client_context
from cloud_endpoint import keyfile
from cloud_endpoint.cli.profile import Profile

SECONDS = 30
LOGIN_SECONDS = 300.0
"""A login anew after that: half of what a token lives."""
MAX_ANSWER = 64 * 1024 * 1024


class Client:
    """One login's session."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._key = keyfile.load(Path(profile.key_file))
        self._token, self._login_at = "", 0.0
        try:
            tls = client_context(EndpointSettings(urls=[profile.url], issuer=profile.issuer, ca_file=profile.ca_file))
        except Rejected as error:
            raise ConfigError([f"ca_file: {error}"]) from None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls), timeout=aiohttp.ClientTimeout(total=SECONDS)
        )

    async def aclose(self) -> None:
        """Ends the session."""
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises Rejected with what the endpoint says, Retryable when it cannot be reached or it is
        not known what came of the request."""
        if not self._token or time.monotonic() - self._login_at > LOGIN_SECONDS:
            await self._login()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        return await self._send(method, path, headers=headers, data=data)

    async def _login(self) -> None:
        form = token_form(
            f"op:{self._profile.operator}",
            self._profile.issuer,
            self._key,
            "",
            now=int(time.time()),
            jti=secrets.token_urlsafe(16),
        )
        self._login_at = time.monotonic()
        self._token = (await self._send("POST", "/v1/token", data=form))["access_token"]

    async def _send(self, method: str, path: str, **arguments: Any) -> Any:
        url = self._profile.url.rstrip("/") + path
        try:
            async with self._session.request(method, url, allow_redirects=False, **arguments) as answer:
                body = await read_limited(answer, MAX_ANSWER)
                if answer.status >= 300:
                    text = problem_detail(body) or f"HTTP {answer.status}: {problem_text(body) or 'no reason given'}"
                    raise Retryable(text) if answer.status >= 500 else Rejected(text)
                return msgspec.json.decode(body) if body else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retryable(f"{self._profile.url}: {cause(error)}") from None
        except msgspec.DecodeError:
            raise Retryable(f"{self._profile.url}: the answer is not JSON") from None
