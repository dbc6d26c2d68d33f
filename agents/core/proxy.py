"""Which connections go through the site's HTTP proxy. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from agents.core.settings import EndpointSettings

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
"""Never reached by a proxy."""


def spared(host: str, port: int | None, never: Iterable[str]) -> bool:
    """Whether connections to that host go without it, by the parts of a NO_PROXY: a name and all below it, an address,
    a network, each of the first two with a port that it is held to, or `*` (the rules of
    golang.org/x/net/http/httpproxy, which containerd and kubectl go by)."""
    for one in never:
        if one == "*":
            return True
        place, colon, number = one.rpartition(":")
        held = bool(colon) and ":" not in place and number.isdigit()
        if (not held or int(number) == port) and _covers(place if held else one, host):
            return True
    return False


def _covers(one: str, host: str) -> bool:
    name = one.removeprefix("*.").lstrip(".")
    if name and (host == name or host.endswith("." + name)):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(one, strict=False)
    except ValueError:
        return False


def through(endpoint: EndpointSettings | None, url: str) -> str | None:
    """The proxy for that URL; None where it is reached as it is. Loopback always is, and what is no URL nowhere:
    whoever connects says so."""
    if endpoint is None or endpoint.proxy is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    if not host or spared(host, _port(parts), [*LOOPBACK, *map(str.lower, endpoint.no_proxy)]):
        return None
    return endpoint.proxy


def _port(parts: SplitResult) -> int | None:
    """None for one that is no port: whoever connects says so."""
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def environment(endpoint: EndpointSettings | None) -> dict[str, str]:
    """The same for programs that go by their environment."""
    if endpoint is None or endpoint.proxy is None:
        return {}
    never = ",".join([*LOOPBACK, *endpoint.no_proxy])
    return {"HTTP_PROXY": endpoint.proxy, "HTTPS_PROXY": endpoint.proxy, "NO_PROXY": never}
