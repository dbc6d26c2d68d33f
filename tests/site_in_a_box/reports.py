"""Reports as a site's daemons make them, sent through the real API by enrolled devices: a fleet without clusters."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from agents.contracts.health import HealthBit, pack
from agents.core.jose import SoftwareKey
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient

GOOD = dict.fromkeys(HealthBit, True)
SCOPES = {
    "heartbeat": "heartbeat:write",
    "vessel": "deploy:report",
    "synthetic": "synthetic:write",
    "commander": "command:read",
}


class Device:
    """One enrolled node that reports what it is told to."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        self._run = secrets.token_hex(8)
        self._seq = dict.fromkeys(SCOPES, 0)

    @property
    def node(self) -> str:
        """Its id."""
        return self._client.name

    async def send(self, stream: str, *bodies: dict[str, Any], dropped: list[Any] | None = None) -> Any:
        """Stores messages at the endpoint and answers what it said."""
        messages = []
        for body in bodies:
            self._seq[stream] += 1
            messages.append({"seq": self._seq[stream], "t": int(time.time() * 1000), "m": body})
        request = {"v": 1, "stream": stream, "run": self._run, "dropped": dropped or [], "messages": messages}
        return await self._client.call("POST", "/v1/ingest", request, scope=SCOPES[stream])

    async def beat(self, up: int = 86_400, *, health: dict[HealthBit, bool | None] | None = None) -> None:
        """A beat."""
        ok = pack(GOOD | (health or {}))
        await self.send("heartbeat", {"kind": "beat", "v": 1, "boot": "1a2b3c4d", "up": up, "ok": ok, "via": "unit"})

    async def skip(self, stream: str, count: int, kind: str = "beat") -> None:
        """Declares that the outbox dropped the next ones."""
        first = self._seq[stream] + 1
        self._seq[stream] += count
        await self.send(stream, dropped=[[first, self._seq[stream], kind]])


@contextlib.asynccontextmanager
async def device(
    endpoint: Endpoint, operator: EndpointClient, hardware_id: str, site: str, name: str
) -> AsyncIterator[Device]:
    """Ships and enrols a device."""
    code = await operator.ship(hardware_id, site, name, address="10.0.0.7")
    async with endpoint.client("", SoftwareKey.generate(), keep_alive=True) as client:
        status, answer = await client.enrol(hardware_id, code)
        if status != 200:
            raise RuntimeError(f"enrolment: {status} {answer}")
        yield Device(client)


def facts(hostname: str = "nuc-1", *, interval: float = 2.0, **changes: Any) -> dict[str, Any]:
    """Facts of a NUC."""
    return {
        "kind": "facts",
        "v": 1,
        "boot_id": "1a2b3c4d-0000-4000-8000-000000000000",
        "boot_time": int(time.time() * 1000) - 86_400_000,
        "hostname": hostname,
        "hardware": "Intel NUC11TNHi5",
        "serial": "G6TN1250009K",
        "kernel": "6.12.48",
        "os": "Galley 0.1",
        "versions": {"kubernetes": "v1.36.1", "galley": "0.1.0"},
        "cpus": 8,
        "memory_total": 16_500_000_000,
        "memory_available": 9_200_000_000,
        "load": [0.42, 0.38, 0.31],
        "disks": [{"path": "/var", "total": 240_000_000_000, "free": 181_000_000_000, "inodes_free_percent": 97.0}],
        "links": [{"name": "eno1", "up": True, "speed": 1000, "addresses": ["10.0.0.7"]}],
        "temperature": 51.0,
        "clock_synchronized": True,
        "interval": interval,
    } | changes


def state(value: str = "ready", reason: str = "the cluster answers") -> dict[str, Any]:
    """Edge Commander's state."""
    return {"kind": "state", "v": 1, "state": value, "reason": reason, "since": int(time.time() * 1000) - 3_600_000}


def deployment(app: str, phase: str = "healthy", *, revision: str = "4f" * 20, **changes: Any) -> dict[str, Any]:
    """What came of an app."""
    return {
        "kind": "deployment",
        "v": 1,
        "app": app,
        "owner": "kitchen-platform",
        "revision": revision,
        "phase": phase,
        "counts": {"total": 5, "changed": 1, "unchanged": 4, "healthy": 5},
        "problems": [],
        "durations": {"dry-run": 0.4, "apply": 0.6, "wait": 2.1},
        "subject": "Raise the till's memory limit",
        "author": "Ines Okafor",
    } | changes


def problem(cause: str, file: str = "", line: int = 0, obj: str = "", path: str = "") -> dict[str, Any]:
    """One error of a deployment."""
    return {"cause": cause, "file": file, "line": line, "object": obj, "path": path}


BOUNDS = [0.001, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2]


def step(name: str, buckets: dict[int, int], *, kind: str = "http", failed: int = 0, error: str = "") -> dict[str, Any]:
    """Results of one step; `buckets`: counts by position among BOUNDS."""
    counts = [buckets.get(index, 0) for index in range(len(BOUNDS) + 1)]
    total = sum(counts)
    most = max(buckets, default=0)
    latency = {
        "bounds": BOUNDS,
        "buckets": counts,
        "sum": 0.01 * total,
        "count": total,
        "max": (BOUNDS[most] * 0.9 if most < len(BOUNDS) else 3.0) if total else 0.0,
    }
    errors = {"timeout": failed} if failed else {}
    return {
        "step": name,
        "type": kind,
        "ok": total,
        "failed": failed,
        "latency": latency,
        "error": error,
        "errors": errors,
    }


def synthetic(*steps: dict[str, Any], scenario: str = "restaurant", seconds: float = 10.0) -> dict[str, Any]:
    """A synthetic client's report."""
    return {"kind": "synthetic", "v": 1, "scenario": scenario, "seconds": seconds, "steps": list(steps)}


def alert(code: str, severity: str = "warning", text: str = "something is odd") -> dict[str, Any]:
    """A daemon's alarm."""
    return {"kind": "alert", "v": 1, "code": code, "severity": severity, "text": text}
