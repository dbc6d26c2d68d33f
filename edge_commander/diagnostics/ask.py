"""The verb `collect-diagnostics`: has the root half make the bundle, and answers when it lies on `keep`. Asks a socket.

The upload is not waited for: the answer is once, and a line may be bad for days. The endpoint knows by itself how far a
bundle came (docs/decisions/0066).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agents.contracts.command import Command
from agents.core.errors import Retryable
from edge_commander.machine.wire import DIAGNOSTICS
from edge_commander.verbs import Handler, Outcome

PATIENCE = 5.0
"""Seconds that one look at the work may take; then the command stays in hand, and is looked at again."""
Ask = Callable[[str, str], Awaitable[Any]]


def handler(ask: Ask, *, made: Callable[[], None]) -> Handler:
    """`ask(operation, argument)` asks the machine's root half. `made` is told of a new bundle."""
    at_work: dict[str, asyncio.Future[Any]] = {}

    async def collect(command: Command) -> Outcome | None:
        if command.id not in at_work:
            at_work[command.id] = asyncio.ensure_future(ask(DIAGNOSTICS, command.id))
        work = at_work[command.id]
        await asyncio.wait([work], timeout=PATIENCE)
        if not work.done():
            return None
        del at_work[command.id]
        said = work.result()
        made()
        try:
            return Outcome("done", f"{said['name']}, {said['bytes']} bytes, SHA-256 {said['sha256']}")
        except (TypeError, KeyError):
            raise Retryable("the root half's answer is malformed") from None

    return Handler(collect, repeatable=True)
