"""Which connections go through the site's HTTP proxy. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from agents.core.settings import EndpointSettings

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
"""Never reached by a proxy."""


def spared(host: str, never: Iterable[str]) -> bool:
    """Whether connections to that host go without it, by the parts of a NO_PROXY: a name and all below it, an address,
    a network, or `*` (the rules of golang.org/x/net/http/httpproxy, which containerd and kubectl go by)."""
    for one in never:
        if one == "*" or host == one.lstrip(".") or host.endswith("." + one.lstrip(".")):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(one, strict=False):
                return True
        except ValueError:
            continue
    return False


def through(endpoint: EndpointSettings | None, url: str) -> str | None:
    """The proxy for that URL; None where it is reached as it is. Loopback always is."""
    if endpoint is None or endpoint.proxy is None:
        return None
    host = (urlsplit(url).hostname or "").lower()
    if not host or spared(host, [*LOOPBACK, *map(str.lower, endpoint.no_proxy)]):
        return None
    return endpoint.proxy


def environment(endpoint: EndpointSettings | None) -> dict[str, str]:
    """The same for programs that go by their environment."""
    if endpoint is None or endpoint.proxy is None:
        return {}
    never = ",".join([*LOOPBACK, *endpoint.no_proxy])
    return {"HTTP_PROXY": endpoint.proxy, "HTTPS_PROXY": endpoint.proxy, "NO_PROXY": never}
