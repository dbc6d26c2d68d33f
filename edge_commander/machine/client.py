"""The machine's root half, as the commander asks it. Touches its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from agents.contracts.command import SignedCommand
from agents.core.errors import Retryable
from edge_commander.halves import client
from edge_commander.machine.wire import Ask

SOCKET = "machine.sock"
"""In the run directory."""
SECONDS = 600.0
"""The longest that an operation may take."""


class Machine:
    """`socket`: where it is asked; `seconds`: how long an asker waits for an answer.

    What was begun goes on after them, in a process of its own there: whoever asks the same before it has ended waits
    for that answer. A slow machine would else be given one process more each time, until none of them ends.
    """

    def __init__(self, socket: Path, seconds: float = SECONDS) -> None:
        self._socket = socket
        self._seconds = seconds
        self._begun: dict[bytes, asyncio.Task[Any]] = {}

    async def ask(self, operation: str, argument: str = "", command: SignedCommand | None = None) -> Any:
        """The operation's value. Raises Retryable where nobody answers or it may be tried again, Rejected."""
        request = Ask(operation=operation, argument=argument, command=command)
        key = msgspec.json.encode(request)
        if (task := self._begun.get(key)) is None:
            task = asyncio.create_task(client.ask(self._socket, operation, request, SECONDS))
            self._begun[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            raise Retryable(f"{self._socket}: no answer in time") from None

    def _ended(self, key: bytes, task: asyncio.Task[Any]) -> None:
        self._begun.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at: nobody may be waiting for it any more
