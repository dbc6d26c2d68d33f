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
from cloud_endpoint.cli import login
from cloud_endpoint.cli.profile import Profile

SECONDS = 30
RENEW_SECONDS = 240.0
"""A login anew after that: less than half of what a token lives."""
MAX_ANSWER = 64 * 1024 * 1024


class Client:
    """One login's session."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._key = keyfile.load(Path(profile.key_file))
        self._token = ""
        self._since = 0.0
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
        await self._fresh()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        return await self._send(method, path, headers=headers, data=data)

    async def download(self, path: str, target: Path, size: int, sha256: str) -> None:
        """Bytes into a file, which is there whole and as its digest says, or not at all. Raises as `call` does."""
        import hashlib

        await self._fresh()
        half = target.with_name(f".{target.name}.part")
        digest, count = hashlib.sha256(), 0
        url = self._profile.url.rstrip("/") + path
        try:
            async with self._session.get(
                url,
                headers={"Authorization": f"Bearer {self._token}"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=SECONDS),
            ) as answer:
                if answer.status != 200:
                    body = await read_limited(answer, MAX_ANSWER)
                    raise Rejected(problem_detail(body) or f"HTTP {answer.status}")
                with half.open("wb") as file:
                    half.chmod(0o600)
                    async for piece in answer.content.iter_any():
                        digest.update(piece)
                        count += len(piece)
                        file.write(piece)
            if (count, digest.hexdigest()) != (size, sha256):
                raise Retryable("what came is not what the endpoint has: fetch it again")
            half.replace(target)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retryable(f"{self._profile.url}: {cause(error)}") from None
        except OSError as error:
            raise Rejected(f"cannot be written: {error.strerror}", file=str(target)) from None
        finally:
            half.unlink(missing_ok=True)

    async def _fresh(self) -> None:
        """A login that lasts: tokens do not, and some commands wait for long."""
        if not self._token or time.monotonic() - self._since > RENEW_SECONDS:
            await self._login()
            self._since = time.monotonic()

    async def _login(self) -> None:
        form = token_form(
            f"op:{self._profile.operator}",
            self._profile.issuer,
            self._key,
            "",
            now=int(time.time()),
            jti=secrets.token_urlsafe(16),
        )
        try:
            self._token = (await self._send("POST", "/v1/token", data=form))["access_token"]
        except Rejected as error:
            who = self._profile
            words = login.in_words(str(error), operator=who.operator, issuer=who.issuer, key_file=who.key_file)
            raise Rejected(words) from None

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
