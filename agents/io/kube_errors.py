"""How an API server's answer becomes one of the two error families, without a Secret's content. Pure.

Source of the rules: Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind".
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import ApiProblem

_MAX_MESSAGE = 1500
_MAX_SCRUBBED = 32 * 1024
"""A longer text about a Secret is not shown at all: it can only be so long because it quotes it."""
_OBJECTS_FAULT = "failed to create typed patch object"
_HIDDEN = "(hidden)"
_VALUES = (
    re.compile(r"Invalid value: (\"(?:[^\"\\]|\\.)*(?:\"|$)|\S+)"),
    re.compile(r"got &.*", re.DOTALL),
    re.compile(r"Value:.*", re.DOTALL),
)
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
"""A Secret's key, as the server takes it: what is none may be a value in the wrong place."""
_PLAIN = frozenset({"apiVersion", "kind", "type", "immutable"})
_LEAST = 3


class KubeRejected(Rejected):
    """The API server said no, and will say so again: `problem` holds its Status."""

    def __init__(self, problem: ApiProblem) -> None:
        super().__init__(problem.message or problem.reason or f"HTTP {problem.status}")
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class NotServed(KubeRejected):
    """HTTP 404 of the path, not of the object: the kind is not served now. Nothing is said of its stored objects.

    The server answers `404 page not found` for a kind that is switched off, and a Status with the reason NotFound for
    an object that is not there; discovery may name the kind for a moment longer.
    """

    def __init__(self) -> None:
        super().__init__(ApiProblem(status=404, reason="NotServed", message="its kind is not served at present"))


class ServerFault(Retryable):
    """HTTP 500: the server, or a webhook it asked, failed on this request. May be this object's fault, may pass."""


class Gone(Retryable):
    """A resourceVersion or a continue token is too old: list anew (HTTP 410)."""


def error_of(status: int, headers: Mapping[str, str], data: bytes, *, path: str, body: object = None) -> Exception:
    """The error for an answer that is no success. 408, 410, 429 and 5xx are retryable; the rest is rejected.

    One 500 is the object's own fault: the API server (1.36, fieldmanager/typeconverter) answers so when a field's
    type does not meet its schema in a server-side apply, where a create answers 400. Other 500s are a ServerFault.
    """
    hidden = _holds_secret(path, body)
    problem = _problem(status, data, (lambda text: scrub(text, body)) if hidden else str)
    if status == 410:
        return Gone(problem.message or "gone")
    if status == 500 and problem.message.startswith(_OBJECTS_FAULT):
        return KubeRejected(_typed_patch(problem))
    if status == 500:
        return ServerFault(f"API server: {problem.message or status}")
    if status in (408, 429) or status > 500:
        return Retryable(f"API server: {problem.message or status}", retry_after=_retry_after(headers))
    if status == 404 and problem.reason != "NotFound":
        return NotServed()
    return KubeRejected(problem)


def _typed_patch(problem: ApiProblem) -> ApiProblem:
    """Names the fields: the message ends with lines `.spec.replicas: expected numeric (int or float), got string`."""
    found = re.findall(r"(?:^|\): |\n\s*)(\.[^\s:]+): ([^\n]+)", problem.message)
    return msgspec.structs.replace(problem, causes=[f"{path.lstrip('.')}: {text}" for path, text in found][:20])


def scrub(message: str, body: object) -> str:
    """Takes every value of `body`'s content, and everything the server quotes as a value, out of a message."""
    if len(message) > _MAX_SCRUBBED:
        return _HIDDEN
    for pattern in _VALUES:
        message = pattern.sub(_HIDDEN, message)
    for value in sorted(set(_secret_values(body)), key=len, reverse=True):
        message = message.replace(value, _HIDDEN)
    return message


def _holds_secret(path: str, body: object) -> bool:
    return "/secrets" in path or (isinstance(body, dict) and body.get("kind") == "Secret")


def _secret_values(body: object) -> Iterator[str]:
    """Every text in the body, wherever it stands and as the server may quote it, and keys that cannot be keys."""
    if not isinstance(body, dict):
        return
    meta = body.get("metadata")
    notes = meta.get("annotations") if isinstance(meta, dict) else None
    waiting: list[object] = [*(value for key, value in body.items() if key not in {*_PLAIN, "metadata"}), notes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            for key in value:
                if isinstance(key, str) and not _KEY.fullmatch(key.rpartition("/")[2]):
                    yield from _forms(key)
        elif isinstance(value, list):
            waiting += value
        elif value is not None and not isinstance(value, bool):
            yield from _forms(str(value))


def _forms(text: str) -> Iterator[str]:
    """A text, each of its lines, both as JSON and Go quote them, and what it is the base64 of."""
    texts = [text, *text.splitlines()]
    with contextlib.suppress(ValueError):
        texts.append(base64.b64decode(text, validate=True).decode())
    for form in texts:
        for written in (form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1]):
            if len(written.strip()) >= _LEAST:
                yield written.strip()


def _problem(status: int, data: bytes, clean: Callable[[str], str]) -> ApiProblem:
    """What the server said. `clean` is applied before a text is cut, or half a value would not be known as one."""
    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = clean(data.decode(errors="replace"))
        return ApiProblem(status=status, reason="", message=said[:300].strip())
    if not isinstance(document, dict):
        return ApiProblem(status=status, reason="", message=clean(str(document))[:300])
    details = document.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return ApiProblem(
        status=status,
        reason=str(document.get("reason", "")),
        message=clean(str(document.get("message", "")))[:_MAX_MESSAGE],
        causes=[
            clean(f"{cause.get('field', '')}: {cause.get('message', '')}")[:500]
            for cause in (causes if isinstance(causes, list) else ())[:20]
            if isinstance(cause, dict)
        ],
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None
