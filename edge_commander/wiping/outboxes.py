"""What the daemons' outboxes hold, and what is declared of what was lost. Pure.

The root half reads the files (machine/outboxes.py) and answers in JSON: `[{stream, problem, runs: [{run, next,
ranges}]}]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestRequest

KIND = "mixed"
"""Of a declared range: what kinds of messages it held is not known any more."""
UNREADABLE = "outboxes that cannot be read"


@dataclass(frozen=True)
class Heard:
    """`until`: of each run, the number that comes next at the first look: what was said by then is waited for. What is
    said later, a beat every few seconds, is not. `began`: monotonic s."""

    began: float
    until: Mapping[tuple[str, str], int]

    @classmethod
    def first(cls, found: Any, now: float) -> Heard:
        """Of the first look. None: it was not answered."""
        return cls(now, {(stream, run["run"]): int(run["next"]) for stream, run in _runs(found)})

    def left(self, found: Any) -> list[str]:
        """Streams of which something is not acknowledged yet."""
        if found is None:
            return [UNREADABLE]
        waits = {
            stream
            for stream, run in _runs(found)
            if any(a < self.until.get((stream, run["run"]), 0) for a, _ in run["ranges"])
        }
        return sorted(waits)


def _runs(found: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(one["stream"], run) for one in found or () for run in one["runs"]]


def declarations(record: Mapping[str, Any]) -> list[tuple[Stream, IngestRequest]]:
    """What tells the cloud of all that went with the wipe; `record`: the journal's."""
    found = []
    for one in record.get("unsent") or ():
        stream = Stream(one["stream"])
        dropped = [(int(a), int(b), KIND) for a, b in one["ranges"]]
        found.append((stream, IngestRequest(stream=stream, run=one["run"], dropped=dropped)))
    return found


def lost(record: Mapping[str, Any]) -> int:
    """How many ranges that are."""
    return sum(len(one["ranges"]) for one in record.get("unsent") or ())
