"""The machine's root half: one operation a process, asked over `/run/galley/machine.sock`.

How it is served: halves/serve.py. What may be asked: wire.py. Each operation imports what it needs when it is asked.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_commander.halves.answer import Answer
from edge_commander.halves.serve import Configuration, asked, ended, say, serve
from edge_commander.machine.wire import (
    ARM,
    DIAGNOSTICS,
    OUTBOXES,
    OVERLAY_DIFF,
    REBOOT,
    REPORTED,
    UPDATE,
    WIPE_STATE,
    Ask,
    problem,
)
from edge_commander.settings import CommanderSettings

Operation = Callable[[Ask, CommanderSettings], Awaitable[Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Serves one connection, handed over as descriptor 0."""
    return serve("edge_commander.machine.runner", answer, argv)


def answer(data: bytes, configured: Callable[[], Configuration]) -> Answer:
    """Judges one request, and carries it out. Raises Rejected where the configuration cannot be read."""
    ask = asked(data, Ask, problem)
    if isinstance(ask, Answer):
        return ask
    settings = configured()
    say(f"asked: {ask!r}")
    return ended(ask.operation, perform(ask, settings))


async def perform(ask: Ask, settings: Configuration) -> Any:
    """One checked operation; its answer. Raises Retryable, Rejected."""
    if ask.operation in OF_THE_NODE:
        return await OF_THE_NODE[ask.operation](ask, settings)
    return await TABLE[ask.operation](ask, settings.own)


async def _reboot(ask: Ask, own: CommanderSettings) -> None:
    from edge_commander.machine.reboot import reboot

    await reboot(own.machine.reboot)


async def _wipe_state(ask: Ask, own: CommanderSettings) -> Any:
    from edge_commander.machine.wiping import state

    return state(own)


async def _outboxes(ask: Ask, settings: Configuration) -> Any:
    from edge_commander.machine.outboxes import shown

    return shown(Path(settings.node.state_dir))


async def _arm(ask: Ask, settings: Configuration) -> Any:
    from edge_commander.machine.outboxes import to_record
    from edge_commander.machine.wiping import arm

    return arm(ask, settings.own, lambda: to_record(Path(settings.node.state_dir), say))


async def _diagnostics(ask: Ask, settings: Configuration) -> Any:
    from edge_commander.diagnostics.collect import collect

    return await collect(ask.argument, settings.own, Path(settings.node.state_dir))


async def _reported(ask: Ask, own: CommanderSettings) -> Any:
    from edge_commander.machine.wiping import reported

    return reported(ask.argument, own)


async def _overlay_diff(ask: Ask, own: CommanderSettings) -> Any:
    from edge_commander.overlay.compare import summary

    return summary(own.overlay)


async def _update(ask: Ask, settings: Configuration) -> str:
    from edge_commander.machine.updating import update
    from edge_commander.update.store import FOLDER

    folder = Path(settings.node.state_dir) / "edge-commander" / FOLDER
    return await asyncio.to_thread(update, ask, settings.own, folder, say)


TABLE: Mapping[str, Operation] = {
    REBOOT: _reboot,
    WIPE_STATE: _wipe_state,
    REPORTED: _reported,
    OVERLAY_DIFF: _overlay_diff,
}
"""Operation to function."""
OF_THE_NODE: Mapping[str, Callable[[Ask, Configuration], Awaitable[Any]]] = {
    OUTBOXES: _outboxes,
    ARM: _arm,
    DIAGNOSTICS: _diagnostics,
    UPDATE: _update,
}
"""Those that must know more of the configuration than the commander's own section."""


if __name__ == "__main__":
    sys.exit(main())
