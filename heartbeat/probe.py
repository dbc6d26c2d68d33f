"""One look at the machine for a beat, and the facts: gathers host and neighbours, each bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from agents.contracts.messages import Disk, Facts
from agents.core.ports import Machine
from heartbeat import host
from heartbeat.judge import Seen
from heartbeat.neighbours import answers, takes_connections
from heartbeat.patience import Patience
from heartbeat.settings import HeartbeatSettings


def _read_local() -> dict[str, Any]:
    total, available = host.memory()
    temperature, high = host.heat()
    return {
        "memory_total": total,
        "memory_available": available,
        "temperature": temperature,
        "temperature_high": high,
        "clock_synchronized": host.clock_synchronized(),
    }


class Probe:
    """Looks at this machine. `disks`: the paths whose file systems are watched."""

    def __init__(self, settings: HeartbeatSettings, machine: Machine, disks: list[str], socket: str) -> None:
        self._settings = settings
        self._machine = machine
        self._disks = disks
        self._socket = socket
        self._patience = Patience()
        host.use_proc(machine.facts().proc_root)

    async def look(self, timeout: float) -> Seen:
        """What a beat needs, but outbox and uplink; back within about `timeout` s whatever hangs."""
        own = self._settings
        local, disks, api, commander, kubelet, runtime = await asyncio.gather(
            self._patience.ask("local", _read_local, timeout),
            self._ask_disks(timeout),
            _ask(answers, own.local_api and _ready(own.local_api), timeout),
            _ask(takes_connections, self._socket, timeout),
            _ask(answers, own.kubelet, timeout),
            _ask(takes_connections, own.runtime_socket, timeout),
        )
        seen = Seen(disks=disks, local_api=api, commander=commander, kubelet=kubelet, runtime=runtime)
        return seen if local is None else replace(seen, **local)

    async def facts(self, timeout: float) -> Facts | None:
        """The facts; None when the machine did not answer in time. A file system that hangs is left out."""
        disks = await self._ask_disks(timeout)
        answered = [disk for disk in disks if disk is not None]
        return await self._patience.ask("facts", partial(self._facts, answered), timeout)

    def uptime(self) -> int:
        """Whole seconds since boot."""
        return host.uptime(self._machine.facts().proc_root)

    async def _ask_disks(self, timeout: float) -> list[Disk | None]:
        asked = (self._patience.ask(f"disk {path}", partial(host.disk, path), timeout) for path in self._disks)
        return list(await asyncio.gather(*asked))

    def _facts(self, disks: list[Disk]) -> Facts:
        machine = self._machine.facts()
        total, available = host.memory()
        release = host.os_release(self._settings.os_release)
        return Facts(
            boot_id=machine.boot_id,
            boot_time=host.boot_time_ms(),
            hostname=machine.hostname,
            hardware=machine.hardware,
            serial=machine.serial,
            kernel=host.kernel(),
            os=host.os_name(release),
            versions=host.versions(release),
            cpus=host.cpus(),
            memory_total=total,
            memory_available=available,
            load=host.load(),
            disks=disks,
            links=host.links(),
            temperature=host.heat()[0],
            clock_synchronized=host.clock_synchronized(),
            interval=self._settings.interval_seconds,
        )


def _ready(url: str) -> str:
    return url.rstrip("/") + "/readyz"


async def _ask(question: Callable[[str, float], Awaitable[bool]], of: str, timeout: float) -> bool | None:
    return await question(of, timeout) if of else None
