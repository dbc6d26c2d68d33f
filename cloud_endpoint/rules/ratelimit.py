"""Token buckets by key with bounded memory: who asks too often waits. Pure; time is an argument."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict


class RateLimit:
    """`rate` per second, `burst` at once, for at most `keys` keys (the longest unused is forgotten first)."""

    def __init__(self, rate: float, burst: float, keys: int = 10_000) -> None:
        self.rate = rate
        self.burst = burst
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """0.0 when allowed, else the seconds until it will be. `now`: monotonic s."""
        level, at = self._buckets.pop(key, (self.burst, now))
        level = min(self.burst, level + (now - at) * self.rate)
        wait = 0.0 if level >= cost else (cost - level) / self.rate
        self._buckets[key] = (level - cost if wait == 0.0 else level, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)


def source_key(address: str | None) -> str:
    """The key of a source address: IPv4 as it is, IPv6 by its /64 (one customer has at least that much)."""
    try:
        parsed = ipaddress.ip_address((address or "").split("%", 1)[0])
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
