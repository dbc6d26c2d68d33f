"""Heartbeat's health port: held by the one on duty, given up when the other form takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.core.errors import Retryable
from agents.supervise.daemon import Pulse

LOOK = 1.0
RETRY = 10.0


class Openable(Protocol):
    """A port that can be taken and given back."""

    async def open(self) -> None:
        """Raises Retryable while another has it."""

    async def aclose(self) -> None:
        """Gives it back; nothing happens when it is not taken."""


class DutyPort:
    """The loop that keeps the port with the duty."""

    def __init__(self, port: Openable, on_duty: Callable[[], bool], log: FilteringBoundLogger) -> None:
        self._port = port
        self._on_duty = on_duty
        self._log = log

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon ends. A taken port is tried again; beats go on without it."""
        is_open, said = False, ""
        try:
            while not pulse.stopping:
                if is_open and not self._on_duty():
                    await self._port.aclose()
                    is_open = False
                elif not is_open and self._on_duty():
                    try:
                        await self._port.open()
                        is_open, said = True, ""
                    except Retryable as error:
                        if str(error) != said:
                            said = str(error)
                            self._log.warning("runs without its health port", cause=said, retry_seconds=RETRY)
                await pulse.sleep(RETRY if said else LOOK)
        finally:
            await self._port.aclose()
