"""What the daemons' outboxes hold that the cloud did not acknowledge. Reads each daemon's file on `var`, as root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.contracts.ids import Stream
from agents.core.errors import Retryable
from agents.io.outbox.unsent import Run, unsent
from edge_commander.wipe.record import MAX_RANGES, MAX_UNSENT, Unsent

FOLDERS = {
    Stream.HEARTBEAT: "heartbeat",
    Stream.VESSEL: "vessel",
    Stream.SYNTHETIC: "synthetic-client",
    Stream.COMMANDER: "edge-commander",
}
"""Each daemon's own, below the state directory."""
NAME = "outbox.db"


def shown(state_dir: Path) -> list[dict[str, Any]]:
    """For each stream `stream`, `problem` (why its file cannot be read, empty where it can), and its `runs`: of each
    `run`, `next` and `ranges`."""
    found = []
    for stream, folder in FOLDERS.items():
        runs: list[Run] = []
        problem = ""
        try:
            runs = unsent(state_dir / folder / NAME)
        except Retryable as error:
            problem = str(error)
        said = [{"run": one.run, "next": one.next, "ranges": one.ranges} for one in runs]
        found.append({"stream": stream.value, "problem": problem, "runs": said})
    return found


def to_record(state_dir: Path, say: Callable[[str], None]) -> list[Unsent]:
    """The same for the journal: newest runs first, bounded; what does not fit, or cannot be read, is said."""
    found: list[Unsent] = []
    for stream, folder in FOLDERS.items():
        try:
            runs = [one for one in unsent(state_dir / folder / NAME) if one.ranges]
        except Retryable as error:
            say(f"{error}; what it holds is lost undeclared")
            continue
        for one in runs[: MAX_UNSENT // len(FOLDERS)]:
            found.append(Unsent(stream=stream, run=one.run, ranges=list(one.ranges[-MAX_RANGES:])))
        left = sum(len(one.ranges) for one in runs) - sum(len(one.ranges) for one in found if one.stream is stream)
        if left:
            say(f"{stream.value}: {left} more ranges of messages are lost undeclared")
    return found
