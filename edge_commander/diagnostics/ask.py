"""The verb `collect-diagnostics`: has the root half make the bundle, and answers when it lies on `keep`. Asks a socket.

The upload is not waited for: the answer is once, and a line may be bad for days. The endpoint knows by itself how far a
bundle came (docs/decisions/0066).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agents.contracts.command import Command
from edge_commander.machine.wire import DIAGNOSTICS
from edge_commander.verbs import Handler, Outcome

Ask = Callable[..., Awaitable[Any]]


def handler(ask: Ask, *, wrong: str, made: Callable[[], None]) -> Handler:
    """`ask(operation, argument)` asks the machine's root half. `wrong`: why nothing may be collected here, '' where it
    may. `made` is told of a new bundle."""

    async def collect(command: Command) -> Outcome:
        if wrong:
            return Outcome("failed", wrong)
        said = await ask(DIAGNOSTICS, command.id)
        made()
        return Outcome("done", f"{said['name']}, {said['bytes']} bytes, SHA-256 {said['sha256']}")

    return Handler(collect, repeatable=True)
