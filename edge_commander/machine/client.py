"""The machine's root half, as the commander asks it. Touches its socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.contracts.command import SignedCommand
from edge_commander.halves import client
from edge_commander.machine.wire import Ask

SOCKET = "machine.sock"
"""In the run directory."""
SECONDS = 600.0
"""The longest that an operation may take."""


@dataclass(frozen=True)
class Machine:
    """`socket`: where it is asked; `seconds`: how long an answer may take. What was begun goes on after them."""

    socket: Path
    seconds: float = SECONDS

    async def ask(self, operation: str, argument: str = "", command: SignedCommand | None = None) -> Any:
        """The operation's value. Raises Retryable where nobody answers or it may be tried again, Rejected."""
        request = Ask(operation=operation, argument=argument, command=command)
        return await client.ask(self.socket, operation, request, self.seconds)
