"""Heartbeat's health port: held by the one on duty, given up when the other form takes over."""

from __future__ import annotations

import asyncio
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.core.errors import Retryable
from agents.supervise.daemon import Pulse

LOOK = 60.0
RETRY = 10.0


class Openable(Protocol):
    """A port that can be taken and given back."""

    async def open(self) -> None:
        """Raises Retryable while another has it."""

    async def aclose(self) -> None:
        """Gives it back; nothing happens when it is not taken."""


class DutyPort:
    """The loop that keeps the port with the duty."""

    def __init__(
        self, port: Openable, on_duty: asyncio.Event, off_duty: asyncio.Event, log: FilteringBoundLogger
    ) -> None:
        self._port = port
        self._on_duty = on_duty
        self._off_duty = off_duty
        self._log = log

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon ends. A taken port is tried again; beats go on without it."""
        said = ""
        try:
            while not pulse.stopping:
                if not await pulse.wait(self._on_duty, LOOK):
                    continue
                try:
                    await self._port.open()
                except Retryable as error:
                    if str(error) != said:
                        said = str(error)
                        self._log.warning("runs without its health port", cause=said, retry_seconds=RETRY)
                    await pulse.wait(self._off_duty, RETRY)
                    continue
                said = ""
                await self._hold(pulse)
                await self._port.aclose()
        finally:
            await self._port.aclose()

    async def _hold(self, pulse: Pulse) -> None:
        while not pulse.stopping and not await pulse.wait(self._off_duty, LOOK):
            pass
