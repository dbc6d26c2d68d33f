"""A cloud endpoint's ingest in memory: dedupes on the full key, settles, answers; and can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agents.contracts.ingest import IngestAnswer, IngestRequest, Rejected


@dataclass
class Run:
    """What is known of one run."""

    messages: dict[int, bytes] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)

    def settled(self) -> set[int]:
        return set(self.messages) | set(self.dropped) | set(self.rejected)


class FakeCloud:
    """Uplink port. `before` may raise (nothing is stored); `after` may raise (stored, but the answer is lost)."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.requests: list[IngestRequest] = []
        self.duplicates = 0
        self.before: Callable[[IngestRequest], None] = lambda request: None
        self.after: Callable[[IngestRequest], None] = lambda request: None
        self.reject: Callable[[bytes], str] = lambda body: ""

    async def ingest(self, request: IngestRequest) -> IngestAnswer:
        return self.take(request)

    def take(self, request: IngestRequest) -> IngestAnswer:
        self.before(request)
        self.requests.append(request)
        run = self.runs.setdefault(request.run, Run())
        problems: list[Rejected] = []
        for a, b, kind in request.dropped:
            for seq in range(a, b + 1):
                run.dropped.setdefault(seq, kind)
        for envelope in request.messages:
            body = bytes(envelope.m)
            if problem := self.reject(body):
                run.rejected[envelope.seq] = problem
                problems.append(Rejected(seq=envelope.seq, problem=problem))
            elif envelope.seq in run.messages:
                assert run.messages[envelope.seq] == body, f"seq {envelope.seq} was used for two messages"
                self.duplicates += 1
            else:
                run.messages[envelope.seq] = body
        self.after(request)
        ack, have = ranges(run.settled())
        return IngestAnswer(ack=ack, have=have, rejected=problems, server_time=1_700_000_000_000)


def ranges(settled: set[int]) -> tuple[int, list[tuple[int, int]]]:
    """`ack` and `have` of a set of settled numbers."""
    found: list[tuple[int, int]] = []
    for seq in sorted(settled):
        if found and found[-1][1] + 1 == seq:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    if found and found[0][0] == 1:
        return found[0][1], found[1:]
    return 0, found
