"""What is answered to which request: one document at one path, to GET and HEAD, and to nothing else. Pure.

RFC 9110 and 9112. A page of some other site must not read it through a name that it lets point here (DNS rebinding):
only addresses and names that no site on the internet can have are answered.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from http import HTTPStatus

from edge_commander.lan_page.document import POLICY

MAX_HEAD = 8192
"""Bytes of a request until its empty line."""
_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2048}) HTTP/1\.[01]")
_ENDS = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost")
"""Names of a network's own: RFC 6762, 8375, 6761, ICANN's `.internal`, and what routers give out."""


@dataclass(frozen=True)
class Wanted:
    """`status`: OK where the document is wanted; `head`: without its body."""

    status: HTTPStatus
    head: bool = False


def end_of(data: bytes) -> int:
    """Where the empty line of a request's head ends; -1 where it is not there yet."""
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    return min(ends, default=-1)


def judge(head: bytes) -> Wanted:
    """`head`: a request up to its empty line."""
    first, *rest = head.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    line = _LINE.fullmatch(first)
    if line is None:
        return Wanted(HTTPStatus.BAD_REQUEST)
    method, target = line[1], line[2].decode()
    hosts = [one[5:].strip().decode("latin-1") for one in rest if one[:5].lower() == b"host:"]
    if len(hosts) > 1 or (not hosts and first.endswith(b"1.1")):
        return Wanted(HTTPStatus.BAD_REQUEST)
    if hosts and not is_own(hosts[0]):
        return Wanted(HTTPStatus.MISDIRECTED_REQUEST)
    if method not in (b"GET", b"HEAD"):
        return Wanted(HTTPStatus.METHOD_NOT_ALLOWED)
    path = re.sub(r"^http://[^/?]*", "", target).partition("?")[0]
    return Wanted(HTTPStatus.OK if path in ("", "/") else HTTPStatus.NOT_FOUND, head=method == b"HEAD")


def is_own(host: str) -> bool:
    """Whether a `Host` may stand for this machine: an address, or a name that is not one of the internet's."""
    name = re.sub(r":\d{1,5}$", "", host).lower()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        plain = re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name) is not None
        return plain and ("." not in name or name.endswith(_ENDS))
    return True


def answer(status: HTTPStatus, body: bytes = b"", *, head: bool = False) -> bytes:
    """The whole answer; the connection ends after it."""
    if status is not HTTPStatus.OK:
        body = f"{status.value} {status.phrase}\n".encode()
    kind = "text/html" if status is HTTPStatus.OK else "text/plain"
    fields = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-store",
        f"Content-Security-Policy: {POLICY}",
        "Cross-Origin-Resource-Policy: same-origin",
        "Cross-Origin-Opener-Policy: same-origin",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields.append("Allow: GET, HEAD")
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append("Retry-After: 5")
    return "\r\n".join([*fields, "", ""]).encode() + (b"" if head else body)
