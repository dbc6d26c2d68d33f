"""What a step's runner is, and how network errors become kinds."""

from __future__ import annotations

import ssl
from typing import Protocol

from agents.io.http import cause
from agents.io.http_library import aiohttp
from synthetic_client.tally import Kind, StepFailed


class Runner(Protocol):
    """Runs one step again and again."""

    async def run(self) -> float:
        """One run; the latency in s. Raises StepFailed. Cancelled when its time is up."""

    async def aclose(self) -> None:
        """Frees what it holds, within a second or so."""


def network_failure(error: BaseException) -> StepFailed:
    """Sorts the errors of sockets and TLS. The text is the error's kind and reason, never what was sent."""
    if isinstance(error, TimeoutError):
        return StepFailed(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return StepFailed(Kind.CONNECT, cause(error))
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error.__cause__ or error
    if isinstance(error, ssl.SSLError) or isinstance(inner, ssl.SSLError | ssl.CertificateError):
        reason = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "handshake failed"
        return StepFailed(Kind.TLS, str(reason))
    if isinstance(inner, OSError):
        return StepFailed(Kind.CONNECT, inner.strerror or type(inner).__name__)
    return StepFailed(Kind.CONNECT, type(error).__name__)
