"""How an API server's answer becomes one of the two error families, without a Secret's content. Pure.

Source of the rules: Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import ApiProblem

_MAX_MESSAGE = 1500
_OBJECTS_FAULT = "failed to create typed patch object"
_HIDDEN = "(hidden)"
_VALUES = (
    re.compile(r"Invalid value: (\"(?:[^\"\\]|\\.)*\"|\S+)"),
    re.compile(r"got &value\..*", re.DOTALL),
    re.compile(r"Value:.*", re.DOTALL),
)


class KubeRejected(Rejected):
    """The API server said no, and will say so again: `problem` holds its Status."""

    def __init__(self, problem: ApiProblem) -> None:
        super().__init__(problem.message or problem.reason or f"HTTP {problem.status}")
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class ServerFault(Retryable):
    """HTTP 500: the server, or a webhook it asked, failed on this request. May be this object's fault, may pass."""


class Gone(Retryable):
    """A resourceVersion or a continue token is too old: list anew (HTTP 410)."""


def error_of(status: int, headers: Mapping[str, str], data: bytes, *, path: str, body: object = None) -> Exception:
    """The error for an answer that is no success. 408, 410, 429 and 5xx are retryable; the rest is rejected.

    One 500 is the object's own fault: the API server (1.36, fieldmanager/typeconverter) answers so when a field's
    type does not meet its schema in a server-side apply, where a create answers 400. Other 500s are a ServerFault.
    """
    problem = _problem(status, data)
    if _holds_secret(path, body):
        problem = msgspec.structs.replace(
            problem,
            message=scrub(problem.message, body),
            causes=[scrub(cause, body) for cause in problem.causes],
        )
    if status == 410:
        return Gone(problem.message or "gone")
    if status == 500 and problem.message.startswith(_OBJECTS_FAULT):
        return KubeRejected(_typed_patch(problem))
    if status == 500:
        return ServerFault(f"API server: {problem.message or status}")
    if status in (408, 429) or status > 500:
        return Retryable(f"API server: {problem.message or status}", retry_after=_retry_after(headers))
    return KubeRejected(problem)


def _typed_patch(problem: ApiProblem) -> ApiProblem:
    """Names the fields: the message ends with lines `.spec.replicas: expected numeric (int or float), got string`."""
    found = re.findall(r"(?:^|\): |\n\s*)(\.[^\s:]+): ([^\n]+)", problem.message)
    return msgspec.structs.replace(problem, causes=[f"{path.lstrip('.')}: {text}" for path, text in found][:20])


def scrub(message: str, body: object) -> str:
    """Takes every value of `body`'s data, and everything the server quotes as a value, out of a message."""
    for pattern in _VALUES:
        message = pattern.sub(_HIDDEN, message)
    for value in sorted(set(_secret_values(body)), key=len, reverse=True):
        message = message.replace(value, _HIDDEN)
    return message


def _holds_secret(path: str, body: object) -> bool:
    return "/secrets" in path or (isinstance(body, dict) and body.get("kind") == "Secret")


def _secret_values(body: object) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    for key in ("data", "stringData"):
        values = body.get(key)
        for value in values.values() if isinstance(values, dict) else ():
            text = str(value)
            if len(text) >= 3:
                yield text
            try:
                plain = base64.b64decode(text, validate=True).decode()
            except ValueError:
                continue
            if len(plain) >= 3:
                yield plain


def _problem(status: int, data: bytes) -> ApiProblem:
    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ApiProblem(status=status, reason="", message=data[:300].decode(errors="replace").strip())
    if not isinstance(document, dict):
        return ApiProblem(status=status, reason="", message=str(document)[:300])
    causes = (document.get("details") or {}).get("causes") or ()
    return ApiProblem(
        status=status,
        reason=str(document.get("reason", "")),
        message=str(document.get("message", ""))[:_MAX_MESSAGE],
        causes=[f"{c.get('field', '')}: {c.get('message', '')}"[:500] for c in causes][:20],
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
