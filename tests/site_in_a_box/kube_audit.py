"""Counts API calls from an API server's audit log (JSON lines, level Metadata). Reads one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class CallKind(NamedTuple):
    """What calls are counted by. `resource` is as in `deployments.apps`, `pods/status`, or a URL path."""

    user: str
    verb: str
    resource: str


@dataclass(frozen=True)
class Call:
    """One API call. `code` is the HTTP status (for a watch, that of its beginning)."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    dry_run: bool
    user_agent: str

    @property
    def kind(self) -> CallKind:
        """What it is counted by."""
        return CallKind(self.user, self.verb, self.resource)


def read_calls(log: Path, *, since: int = 0) -> Iterator[Call]:
    """The calls in the log from byte `since` on, each once; a line still being written is left out.

    A watch is counted when it begins, any other call when it is answered.
    """
    if not log.exists():
        return
    with log.open("rb") as lines:
        lines.seek(since)
        yield from calls_in(line for line in lines if line.endswith(b"\n"))


def calls_in(lines: Iterable[bytes]) -> Iterator[Call]:
    """The calls that these audit events report, each once although a watch has several events."""
    seen: set[str] = set()
    for line in lines:
        event: Mapping[str, Any] = json.loads(line)
        if event["auditID"] not in seen:
            seen.add(event["auditID"])
            yield _call(event)


def count(calls: Iterable[Call]) -> Counter[CallKind]:
    """Number of calls of each kind."""
    return Counter(call.kind for call in calls)


def _call(event: Mapping[str, Any]) -> Call:
    reference: Mapping[str, str] = event.get("objectRef") or {}
    url = urlsplit(event.get("requestURI", ""))
    return Call(
        user=event.get("user", {}).get("username", ""),
        verb=event.get("verb", ""),
        resource=_resource(reference) or url.path,
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        dry_run="All" in parse_qs(url.query).get("dryRun", []),
        user_agent=event.get("userAgent", ""),
    )


def _resource(reference: Mapping[str, str]) -> str:
    if "resource" not in reference:
        return ""
    group = f".{reference['apiGroup']}" if reference.get("apiGroup") else ""
    subresource = f"/{reference['subresource']}" if reference.get("subresource") else ""
    return f"{reference['resource']}{group}{subresource}"
