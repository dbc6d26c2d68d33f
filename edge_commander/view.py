"""What the commander shows of itself. What a person can do about it: advice.py. Pure."""

from __future__ import annotations

import msgspec

from agents.contracts.messages import NodeState
from edge_commander.ledger import Ledger, Past
from edge_commander.reasons import NodeRecord
from edge_commander.trust.view import TrustView


class SnapshotView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest snapshot of the cluster on this node. `age` in s, -1 where there is none; `bytes`: of its database;
    `problem`: why the last attempt at another one failed."""

    path: str = ""
    epoch: int = 0
    age: int = -1
    bytes: int = 0
    problem: str = ""

    def line(self) -> str:
        """The same for people."""
        text = f"{self.age // 3600} h {self.age // 60 % 60} min old, {self.bytes / 1e6:.1f} MB" if self.path else "none"
        return f"snapshot {text}{f'; the last attempt failed: {self.problem}' if self.problem else ''}"


class InHand(msgspec.Struct, frozen=True, kw_only=True):
    """The command that was taken and has not ended. `issued`: Unix s."""

    id: str
    verb: str
    issued: int


class WipedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a wipe. `done`: how much of it is overwritten, percent."""

    name: str
    stage: str
    done: int = 0


class WipeView(msgspec.Struct, frozen=True, kw_only=True):
    """A wipe that is armed, under way or ended, by the journal. `attempts`: starts since it last got on; `problem`: why
    it ended as it did, or what the last start met."""

    id: str
    phase: str
    targets: list[WipedTarget] = []
    attempts: int = 0
    problem: str = ""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the cluster, as its API last said."""

    name: str
    ready: bool
    server: bool
    version: str = ""


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """`now`: the time this node believes, Unix ms. `confirmed`: the endpoint named its time since the start. `problem`:
    why the machine's clock is not to be trusted."""

    now: int
    confirmed: bool
    problem: str = ""


class DiskView(msgspec.Struct, frozen=True, kw_only=True):
    """One file system of the node's. `free`: what the suite's users may still write, `size`: of it all, bytes."""

    name: str
    path: str
    free: int
    size: int


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What the status shows besides the durable record. `name`: of the Node. `update`: how far an image's update is,
    and what it waits for; empty: none is under way."""

    name: str = ""
    members: list[MemberView] = []
    wipe: WipeView | None = None
    update: str = ""
    clock: ClockView | None = None
    disks: list[DiskView] = []


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/status` at the identity socket. `since`: Unix ms. `pending`: messages in the outbox. `secrets`:
    generation of the site's secrets that this node holds, `runs`: that by which its servers run; 0: none. `past`: the
    last commands that ended, the newest last."""

    v: int = 1
    state: NodeState
    reason: str
    since: int
    node: str | None
    site: str | None
    pending: int = 0
    consumed: int = 0
    trust: TrustView | None = None
    secrets: int = 0
    runs: int = 0
    snapshot: SnapshotView | None = None
    command: InHand | None = None
    past: list[Past] = []
    around: Around = Around()


def of_record(
    record: NodeRecord,
    *,
    pending: int = 0,
    ledger: Ledger | None = None,
    trust: TrustView | None = None,
    generations: tuple[int, int] = (0, 0),
    snapshot: SnapshotView | None = None,
    around: Around | None = None,
) -> StatusDocument:
    """The document of a durable record. `generations`: what is held of the site's secrets, and what runs by them."""
    taken = ledger.current.command if ledger is not None and ledger.current is not None else None
    return StatusDocument(
        state=record.state,
        reason=record.reason.text,
        since=record.since,
        node=record.node,
        site=record.site,
        pending=pending,
        consumed=ledger.consumed if ledger is not None else 0,
        trust=trust,
        secrets=generations[0],
        runs=generations[1],
        snapshot=snapshot,
        command=InHand(id=taken.id, verb=taken.verb.value, issued=taken.issued) if taken is not None else None,
        past=ledger.past if ledger is not None else [],
        around=around or Around(),
    )
