"""What the commander shows of itself, and what a person can do about it. Pure."""

from __future__ import annotations

import msgspec

from agents.contracts.messages import NodeState
from edge_commander.reasons import NodeRecord, Why
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


class StatusDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/status` at the identity socket. `since`: Unix ms. `pending`: messages in the outbox. `secrets`:
    generation of the site's secrets that this node holds, `runs`: that by which its servers run; 0: none."""

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


_ADVICE: dict[Why, str] = {
    Why.CONFIG: "name an endpoint in /etc/galley/galley.yaml, or leave this node alone: Vessel runs without one",
    Why.ENDPOINT: "check the uplink; the node goes on by itself when the endpoint can be reached",
    Why.APPROVAL: "approve this device at the endpoint, or put its one-time code into the enrolment code file",
    Why.QUARANTINED: "look at the endpoint which machine holds this hardware id, and approve or refuse this one",
    Why.REFUSED: "look at the endpoint why this device is refused",
    Why.KEYS: "put the device keys back from a copy, or have the endpoint retire this device and wipe it",
    Why.TPM: "look whether the firmware still shows the TPM; the node goes on by itself when it answers",
    Why.HARDWARE: "put the disk back into its own machine, or wipe it",
    Why.ADDRESS: "give this node its address back (a reservation in the LAN's DHCP), or wipe it, so that it joins anew",
    Why.MOVED: "wipe this node before it serves another site",
    Why.CLOCK: "set the clock, or make NTP reachable",
    Why.SITE: "add this node to the site's roster at the endpoint",
    Why.API: "look at the cluster's API server on this site",
    Why.MEMBER: "look whether this node is part of the cluster (kubectl get nodes)",
    Why.NODE_READY: "look at this node (kubectl describe node)",
    Why.EPOCH: "make the endpoint reachable: this node has seen a newer roster",
    Why.WIPE: "wipe this node, so that it can join the site's new cluster; the older one was stopped, its data stay",
    Why.SIBLINGS: "look whether the other nodes have power and a network; the node goes on by itself",
    Why.DECISION: "make the endpoint reachable, or the siblings where the site decides offline; nothing is lost",
    Why.SECRETS: "start a node that was a member before; if there is none any more, the site needs a new epoch",
    Why.FIRST: "nothing yet; if it stays so, look at the node that begins the cluster",
    Why.TURN: "nothing: nodes join, are upgraded, and renew their certificates, one after another",
    Why.WHOLE: "look at the nodes that are not ready; the upgrade goes on by itself",
    Why.VERSION: "put the ordered version's programs on this node, beside those it runs",
    Why.STOPPED: "look at the node that is named, then order anew (galley site upgrade)",
    Why.STARTING: "nothing: this takes a minute or two",
    Why.DISTRIBUTION: "look at edge_commander.distribution in /etc/galley/galley.yaml",
    Why.WIPING: "nothing: it is wiped by an operator's command, and comes back by itself",
    Why.WIPE_FAILED: "look at the console: a partition could not be erased",
}


def of_record(
    record: NodeRecord,
    *,
    pending: int = 0,
    consumed: int = 0,
    trust: TrustView | None = None,
    generations: tuple[int, int] = (0, 0),
    snapshot: SnapshotView | None = None,
) -> StatusDocument:
    """The document of a durable record. `generations`: what is held of the site's secrets, and what runs by them."""
    return StatusDocument(
        state=record.state,
        reason=record.reason.text,
        since=record.since,
        node=record.node,
        site=record.site,
        pending=pending,
        consumed=consumed,
        trust=trust,
        secrets=generations[0],
        runs=generations[1],
        snapshot=snapshot,
    )


def advice(document: StatusDocument) -> str:
    """What a person can do, by the reason's code; empty when nothing is to be done."""
    fitting = [why for why in _ADVICE if document.reason.startswith(why.value)]
    return _ADVICE[max(fitting, key=lambda why: len(why.value))] if fitting else ""
