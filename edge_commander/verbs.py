"""What each verb does: one table, verb to handler. Touches the wake file of `sync`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from agents.contracts.command import Command, Verb
from agents.core.errors import GalleyError, Retryable
from agents.io.state import write_durably

SYNC_FILE = "sync.json"


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `detail` is for people."""

    result: Literal["done", "failed", "refused"]
    detail: str


@dataclass(frozen=True)
class Handler:
    """`execute` does the verb; None: it has not ended yet, the command stays in hand, and it is called again.
    `repeatable`: doing it twice is doing it once, so after a crash it is done again; what is not, is answered as
    failed, also where it answers None."""

    execute: Callable[[Command], Awaitable[Outcome | None]]
    repeatable: bool = False


def handlers(run_dir: Path, more: Mapping[Verb, Handler] | None = None) -> Mapping[Verb, Handler]:
    """The table; every verb of the closed list is in it. `more`: those whose handlers need more than a directory."""

    async def sync(command: Command) -> Outcome:
        return write_wake(run_dir / SYNC_FILE, command)

    table = {verb: Handler(_not_available, repeatable=True) for verb in Verb}
    table[Verb.SYNC] = Handler(sync, repeatable=True)
    return table | dict(more or {})


async def run(handler: Handler, command: Command) -> Outcome | None:
    """Executes; the two families of errors become `failed`. None: not ended yet."""
    try:
        return await handler.execute(command)
    except GalleyError as error:
        return Outcome("failed", str(error))


async def _not_available(command: Command) -> Outcome:
    return Outcome("refused", f"{command.verb.value} is not available in this version")


def write_wake(path: Path, command: Command) -> Outcome:
    """Replaces the wake file, which Vessel looks at: a new `sequence` in it means `poll now`. Readable by all."""
    content = {"v": 1, "sequence": command.sequence, "id": command.id, "at": command.issued * 1000}
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_durably(path, msgspec.json.encode(content), mode=0o644)
    except OSError as error:
        raise Retryable(f"{path}: cannot be written: {error.strerror}") from None
    return Outcome("done", "Vessel was told to look at its Atlas now")
