"""What was ever queued, and what the cloud has of it: the account that a kill loop is judged by.

A ledger reads the outboxes while they are in use and remembers every message it saw; at the end each one must be
settled at the cloud. Runs are asked whole: what the outbox numbered, the cloud must have, without a gap.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from tests.site_in_a_box.endpoint import EndpointClient
from tests.site_in_a_box.restaurant import Restaurant

STREAMS = {
    "edge-commander": "commander",
    "heartbeat": "heartbeat",
    "vessel": "vessel",
    "synthetic-client": "synthetic",
}
Run = tuple[str, str, str]


@dataclass
class Ledger:
    """`seen`: (node, stream, run) -> sequence numbers seen queued; `next`: the number that comes next."""

    seen: dict[Run, set[int]] = field(default_factory=dict)
    next: dict[Run, int] = field(default_factory=dict)

    def look(self, one: Restaurant) -> None:
        """Reads every outbox of a site once."""
        for node in one.nodes:
            for daemon, stream in STREAMS.items():
                path = node.folder / "state" / daemon / "outbox.db"
                with contextlib.suppress(sqlite3.OperationalError):
                    self._read(path, node.plan.node, stream)

    def _read(self, path: Path, node: str, stream: str) -> None:
        if not path.exists():
            return
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)) as connection:
            for run, following in connection.execute("SELECT run, next FROM runs").fetchall():
                key = (node, stream, run)
                self.next[key] = max(self.next.get(key, 1), following)
            rows = "SELECT runs.run, seq FROM messages JOIN runs ON runs.id = messages.run"
            for run, seq in connection.execute(rows).fetchall():
                self.seen.setdefault((node, stream, run), set()).add(seq)

    async def missing(self, cloud: EndpointClient, one: Restaurant) -> list[str]:
        """What was queued and is not at the cloud, in words; empty when nothing is missing."""
        settled: dict[Run, tuple[int, list[tuple[int, int]]]] = {}
        for node in one.nodes:
            view = await cloud.call("GET", f"/v1/fleet/nodes/{node.plan.node}/streams")
            for run in view["streams"]:
                settled[(run["node"], run["stream"], run["run"])] = (run["ack"], [tuple(r) for r in run["have"]])
                if run["dropped"] or run["rejected"]:
                    settled.pop((run["node"], run["stream"], run["run"]))
        found = []
        for key, following in self.next.items():
            wanted = self.seen.get(key, set()) | set(range(1, following))
            ack, have = settled.get(key, (0, []))
            lost = sorted(seq for seq in wanted if seq > ack and not any(a <= seq <= b for a, b in have))
            if lost:
                found.append(
                    f"{key[1]} of {key[0]}, run {key[2]}: {len(lost)} of {len(wanted)} missing, first {lost[0]}"
                )
        return found

    @property
    def total(self) -> int:
        """How many messages were numbered in all."""
        return sum(following - 1 for following in self.next.values())
