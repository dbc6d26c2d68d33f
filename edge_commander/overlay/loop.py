"""Asks the machine's root half how /etc differs from the image, and tells the cloud what is new of it.

Touches the root half's socket, the outbox, and a file that says what was told: after a crash between outbox and file
the same is told twice, never left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Outbox
from agents.io.state import StateFile
from agents.supervise.daemon import Context, Loop, Pulse
from edge_commander.machine.client import SECONDS, SOCKET, Machine
from edge_commander.machine.wire import OVERLAY_DIFF
from edge_commander.overlay.summary import Summary, Told, news
from edge_commander.settings import CommanderSettings

FIRST = 120.0
"""After the start, s: what starts with the machine goes first."""
AGAIN = 60.0
"""After a failure, s."""


class Half(Protocol):
    """The root half (machine.client.Machine has it)."""

    async def ask(self, operation: str) -> object:
        """The operation's value. Raises Retryable, Rejected."""


class OverlayLoop:
    """`seconds`: between two looks. `say(ok, text)`: for the health page."""

    def __init__(
        self,
        half: Half,
        outbox: Outbox,
        file: StateFile[Told],
        seconds: float,
        *,
        log: FilteringBoundLogger,
        say: Callable[[bool, str], None],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._half = half
        self._outbox = outbox
        self._file = file
        self._told = file.load() or Told()
        self._seconds = seconds
        self._log = log
        self._say = say
        self._uniform = uniform

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon stops."""
        await pulse.sleep(FIRST)
        while not pulse.stopping:
            pulse.expect(SECONDS + 60.0)
            pause = await self.turn()
            await pulse.sleep(pause * self._uniform(0.9, 1.1))

    async def turn(self) -> float:
        """One look; seconds until the next."""
        try:
            value = await self._half.ask(OVERLAY_DIFF)
            found = msgspec.convert(value, Summary) if value is not None else None
            if found is not None:
                await self._tell(found)
        except msgspec.ValidationError as error:
            self._say(False, f"the root half's answer is malformed: {error}")
            return self._seconds
        except GalleyError as error:
            self._log.info("/etc was not compared with the image", cause=str(error))
            self._say(isinstance(error, Retryable), str(error))
            return min(AGAIN, self._seconds)
        count = found.drift if found is not None else 0
        self._say(True, f"{count} path(s) differ" if found is not None else "no overlay")
        return self._seconds

    async def _tell(self, found: Summary) -> None:
        messages, told = news(found, self._told)
        for message in messages:
            await self._outbox.put(message, durable=True)
        if told != self._told:
            self._file.save(told)
            self._told = told


def build(context: Context[CommanderSettings], outbox: Outbox) -> list[Loop]:
    """The loop, on a node whose early boot has mounted such an overlay; what cannot be read of what was told is told
    again."""
    own = context.settings.own.overlay
    file = StateFile(context.state_dir / "overlay.json", Told)
    half = Machine(context.run_dir / SOCKET)
    loop = OverlayLoop(
        half, outbox, file, own.look_seconds, log=context.log, say=lambda ok, text: context.health.set("etc", ok, text)
    )
    return [Loop("etc", loop.run)]
