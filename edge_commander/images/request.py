"""The head of a request to a proxy, and the proxy behind it: read and written. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from agents.core.proxy import spared

_OWN = ("proxy-authorization", "proxy-connection", "connection", "keep-alive")
"""Headers between the child and this proxy alone."""


class BadRequest(Exception):
    """What came is no request that is served."""


@dataclass(frozen=True)
class Upstream:
    """The proxy that the node itself is to use. `never`: the parts of NO_PROXY. `repr` shows no password."""

    host: str
    port: int
    authorization: str = ""
    never: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Upstream(host={self.host!r}, port={self.port})"

    def serves(self, host: str, port: int) -> bool:
        """Whether connections to there go through it."""
        return not spared(host, port, self.never)

    def connect(self, head: Head) -> bytes:
        """Asks it for a tunnel."""
        place = f"{f'[{head.host}]' if ':' in head.host else head.host}:{head.port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *self.credentials()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def credentials(self) -> list[str]:
        """The header for it, where it wants one."""
        return [f"Proxy-Authorization: {self.authorization}"] if self.authorization else []


@dataclass(frozen=True)
class Head:
    """`tunnel`: CONNECT. `lines`: further headers, as they came."""

    method: str
    target: str
    host: str
    port: int
    tunnel: bool
    authorization: str
    lines: tuple[str, ...]

    def forwarded(self, through: Upstream | None) -> bytes:
        """The head to send on, for one request and no more on this connection."""
        parts = urlsplit(self.target)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        first = f"{self.method} {path if through is None else self.target} HTTP/1.1"
        kept = [line for line in self.lines if line.partition(":")[0].strip().lower() not in _OWN]
        own = [] if through is None else through.credentials()
        return ("\r\n".join([first, *kept, *own, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


def read_head(data: bytes) -> Head:
    """Reads a request's head, up to its empty line. Raises BadRequest."""
    try:
        first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
        if not version.startswith("HTTP/1."):
            raise BadRequest
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if tunnel else target)
        if not parts.hostname or parts.username is not None or (not tunnel and parts.scheme != "http"):
            raise BadRequest
        port = parts.port or (443 if tunnel else 80)
    except ValueError:
        raise BadRequest from None
    given = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")]
    return Head(method, target, parts.hostname, port, tunnel, given[0] if given else "", tuple(lines))


def upstream_of(environ: Mapping[str, str]) -> Upstream | None:
    """The node's own proxy, as its environment names it; None where there is none that speaks plain HTTP to us."""

    def value(name: str) -> str:
        return environ.get(name) or environ.get(name.lower()) or ""

    text = value("HTTPS_PROXY") or value("HTTP_PROXY")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if not text or parts.scheme != "http" or not parts.hostname:
            return None
        port = parts.port or 80
    except ValueError:
        return None
    given = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        given = "Basic " + base64.b64encode(pair.encode()).decode()
    never = tuple(one.strip().lower() for one in value("NO_PROXY").split(",") if one.strip())
    return Upstream(parts.hostname, port, given, never)
