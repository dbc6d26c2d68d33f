"""What all HTTP clients of the suite share: how an answer's status becomes one of the two error families."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from agents.contracts.codec import without_root
from agents.core.errors import Rejected, Retryable
from agents.io.http_library import aiohttp

RETRYABLE_STATUS = frozenset({401, 408, 421, 423, 425, 429, 500, 502, 503, 504})
"""401 is among them: the next token may be good. 501, 505 and the like will not pass by themselves."""
MAX_RETRY_AFTER = 3600.0


def retry_after(headers: Mapping[str, str], now_ms: int) -> float | None:
    """`Retry-After` (RFC 9110 section 10.2.3) in s, at most an hour; None where absent or malformed."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_ms / 1000
        except (ArithmeticError, TypeError, ValueError):
            return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def problem_text(body: bytes) -> str:
    """Title and detail of an RFC 9457 problem, at most 500 characters; empty for anything else."""
    problem = _problem(body)
    return ": ".join(problem[key] for key in ("title", "detail") if problem.get(key))[:500]


def problem_detail(body: bytes) -> str:
    """What an RFC 9457 problem says of this very request, for the person who made it: a field is named as they gave
    it (`site`, not `$.site`). At most 500 characters; empty where it says nothing."""
    return without_root(_problem(body).get("detail", "")[:500])


def _problem(body: bytes) -> dict[str, str]:
    try:
        problem = msgspec.json.decode(body[:65536])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {k: v for k, v in problem.items() if isinstance(v, str)} if isinstance(problem, dict) else {}


def failure(what: str, status: int, headers: Mapping[str, str], body: bytes, now_ms: int) -> Retryable | Rejected:
    """The error that a non-2xx answer stands for. `what` names the request for people."""
    text = f"{what}: HTTP {status}"
    if detail := problem_text(body):
        text += f" ({detail})"
    if status in RETRYABLE_STATUS:
        return Retryable(text, retry_after=retry_after(headers, now_ms))
    return Rejected(text)


async def read_limited(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; raises Retryable when it is longer than `limit` bytes."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            answer.close()
            raise Retryable(f"the answer is longer than {limit} bytes")
    return bytes(body)


async def read_beginning(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most `limit` bytes of the body, where its status says enough and a long page must not hide it."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= limit:
            answer.close()
            break
    return bytes(body[:limit])


def cause(error: Exception) -> str:
    """A short text for a failed connection, which names no address or credential."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate refused ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        text = os.strerror(number) if number else "cannot be reached"
        return f"the proxy: {text}" if isinstance(error, aiohttp.ClientProxyConnectionError) else text
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    return type(error).__name__
