"""What the endpoint keeps and shows, as typed records; also the answers of its API. Times in Unix ms. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.identity import AtlasSource, Election, Voter
from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Short
from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument


class SiteRecord(Struct, frozen=True, kw_only=True):
    """One restaurant. `generation` rises with any change of its labels, Atlas, roster or epoch. `epoch` counts its
    clusters, `election` says who decides which node begins one; `epoch_authorisation`: the signature that raised it,
    `restore`: by making its cluster of a snapshot."""

    site: SiteId
    labels: dict[Short, Short] = {}
    atlas: AtlasSource | None = None
    generation: int = 0
    created_ms: int = 0
    epoch: int = 1
    election: Election = Election.CLOUD
    epoch_authorisation: str = ""
    restore: bool = False


class GrantRecord(Struct, frozen=True, kw_only=True):
    """Which device, with which signing key, may run the `cluster-init` of a site's epoch. `begun_ms`: when it
    said that it begins, 0 for not yet."""

    site: SiteId
    epoch: int
    node: NodeId
    kid: str
    granted_ms: int
    begun_ms: int = 0


class WipeGrantRecord(Struct, frozen=True, kw_only=True):
    """Which node of a site may wipe itself now, and for which command; no other may meanwhile."""

    site: SiteId
    node: NodeId
    command_id: str
    granted_ms: int


class OrderRecord(Struct, frozen=True, kw_only=True):
    """An order to a site, the newest of its kind. `current`: it is for the site's present epoch."""

    order: SiteOrder
    current: bool
    put_ms: int
    signed: SignedDocument


class ShippingRecord(Struct, frozen=True, kw_only=True):
    """One line of the shipping list. `proof`: `code`, `approval` or `tpm`; `ek_hash`: of the endorsement key that
    the device must hold where it is `tpm`."""

    hardware_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    node: NodeId
    site: SiteId
    name: Short
    address: Short = ""
    proof: str
    ek_hash: str = ""
    code_used_ms: int | None = None
    code_tries: int = 0
    created_ms: int = 0


class DeviceRecord(Struct, frozen=True, kw_only=True):
    """An enrolled (or revoked) device with its two public keys. `ek_hash`: of the endorsement key whose TPM was
    proven to hold the signing key; empty where that was not the proof."""

    node: NodeId
    hardware_id: str
    site: SiteId
    name: str
    address: str
    status: str
    signing: dict[str, Any]
    signing_kid: str
    sealing: dict[str, Any]
    sealing_kid: str
    hostname: str = ""
    hardware: str = ""
    enrolled_ms: int = 0
    ek_hash: str = ""


class EnrolmentRecord(Struct, frozen=True, kw_only=True):
    """A device that asked and is not enrolled: pending, quarantined or refused. Seen and judged by an operator."""

    id: int
    node: NodeId
    hardware_id: str
    status: str
    reason: str
    signing_kid: str
    sealing_kid: str
    hostname: str
    hardware: str
    source: str
    first_ms: int
    last_ms: int
    tries: int


class OperatorRecord(Struct, frozen=True, kw_only=True):
    """A person or script. `key`: public key of the login; `command_key`: Ed25519 key that signs commands.
    `site`: None for all sites."""

    name: str
    key: dict[str, Any]
    kid: str
    scopes: list[str]
    command_key: dict[str, Any] | None = None
    site: str | None = None
    created_ms: int = 0
    revoked_ms: int | None = None


class NodeRecord(Struct, frozen=True, kw_only=True):
    """A node as last heard. `beat_ms`: receipt of its newest beat by the store's clock, None: never.
    `beat`, `facts`, `state`: bodies as in agents.contracts.messages; `*_ms`: receipt."""

    node: NodeId
    site: SiteId
    name: str
    address: str
    status: str
    beat_ms: int | None = None
    beat: dict[str, Any] | None = None
    facts_ms: int | None = None
    facts: dict[str, Any] | None = None
    state_ms: int | None = None
    state: dict[str, Any] | None = None


class DeploymentRecord(Struct, frozen=True, kw_only=True):
    """What came of one app at one revision. `body`: a Deployment message."""

    site: SiteId
    app: str
    node: str
    t: int
    received_ms: int
    body: dict[str, Any]


class SyntheticRecord(Struct, frozen=True, kw_only=True):
    """The last window of one step. `body`: a StepResult; `seconds`: length of the window."""

    site: SiteId
    scenario: str
    step: str
    node: str
    t: int
    received_ms: int
    seconds: float
    body: dict[str, Any]


class HistoryRecord(Struct, frozen=True, kw_only=True):
    """One stored message. `key`: app of a deployment, scenario of a synthetic, code of an alert."""

    id: int
    site: SiteId
    node: str
    kind: str
    key: str
    t: int
    received_ms: int
    body: dict[str, Any]


class AlertRecord(Struct, frozen=True, kw_only=True):
    """Alarms with the same site, node and code are one line that counts. `source`: `node` or `endpoint`."""

    id: int
    site: str
    node: str
    code: str
    severity: str
    text: str
    source: str
    first_ms: int
    last_ms: int
    count: int


class StreamRecord(Struct, frozen=True, kw_only=True):
    """One run of one stream: how far it is settled, in how many ranges, and what the outbox dropped by policy."""

    node: str
    stream: str
    run: str
    ack: int
    have: list[tuple[int, int]]
    dropped: int
    rejected: int
    first_ms: int
    last_ms: int


class GapRecord(Struct, frozen=True, kw_only=True):
    """Messages `first..last` of a run that the outbox evicted by policy before they were sent."""

    node: str
    stream: str
    run: str
    first: int
    last: int
    kind: str
    at_ms: int


class DeadLetterRecord(Struct, frozen=True, kw_only=True):
    """A message that could not be read; `body` cut at 4096 bytes."""

    id: int
    node: str
    stream: str
    run: str
    seq: int
    at_ms: int
    problem: str
    body: str


class CommandRecord(Struct, frozen=True, kw_only=True):
    """A command in a node's queue. `outcome` is None until the node answered."""

    node: str
    site: str
    sequence: int
    command_id: str
    verb: str
    by: str
    created_ms: int
    expires_ms: int
    outcome: str | None = None
    detail: str = ""
    answered_ms: int | None = None


class AuditRecord(Struct, frozen=True, kw_only=True):
    """Who did what to whom, and what came of it."""

    id: int
    at_ms: int
    actor: str
    source: str
    action: str
    target: str
    outcome: str
    detail: str


class Alive(Struct, frozen=True, kw_only=True):
    """`GET /healthz`: no more than that, for anyone may ask."""

    status: str = "ok"


class Done(Struct, frozen=True, kw_only=True):
    """It is so now. `changed`: whether it was not so before."""

    changed: bool = True


class SiteView(Struct, frozen=True, kw_only=True):
    """All of one site as last heard. `grants`: of all epochs, the newest first; `voters`: of the present one.
    `wipe_grant`: of the node that is being wiped, None: none is. `now_ms`: the store's clock when it was read, by which
    all receipts are to be judged."""

    site: SiteRecord
    nodes: list[NodeRecord]
    deployments: list[DeploymentRecord]
    synthetics: list[SyntheticRecord]
    alerts: list[AlertRecord]
    grants: list[GrantRecord] = []
    voters: list[Voter] = []
    now_ms: int = 0
    wipe_grant: WipeGrantRecord | None = None


class StreamsView(Struct, frozen=True, kw_only=True):
    """What of one node arrived, what its outboxes dropped by policy, and what could not be read."""

    streams: list[StreamRecord]
    gaps: list[GapRecord]
    dead_letters: list[DeadLetterRecord]


class Shipped(Struct, frozen=True, kw_only=True):
    """A line of the shipping list. `code`: shown this once; the store has its hash."""

    line: ShippingRecord
    code: str = ""

    def __repr__(self) -> str:
        return f"Shipped(line={self.line!r})"


class LoginLink(Struct, frozen=True, kw_only=True):
    """`path` below the endpoint's address; `expires_in` in s."""

    url: str
    expires_in: int

    def __repr__(self) -> str:
        return f"LoginLink(expires_in={self.expires_in})"


class NextCommand(Struct, frozen=True, kw_only=True):
    """What a command to this node must say. `challenge`: empty where the node published none that is valid."""

    node: NodeId
    site: SiteId
    sequence: int
    challenge: str


class EntryRecord(Struct, frozen=True, kw_only=True):
    """A shipping entry that an operator signed. `issued`, `expires`: Unix s. `pinned`: it names the node's keys.
    `counts`: nodes believe it by the newest operators' document."""

    site: SiteId
    node: NodeId
    name: str
    role: str
    sequence: int
    issued: int
    expires: int
    withdrawn: bool
    pinned: bool
    counts: bool


class OperatorsRecord(Struct, frozen=True, kw_only=True):
    """One operators' document. `names`: whose keys sign; `retired`: whose old signatures count. `roster_keys`:
    thumbprints."""

    generation: int
    threshold: int
    names: list[str]
    retired: list[str]
    roster_keys: list[str]
    signed: SignedDocument


class OperatorsView(Struct, frozen=True, kw_only=True):
    """The operators' documents, ascending, and this endpoint's public roster keys."""

    documents: list[OperatorsRecord]
    roster_keys: list[dict[str, Any]]
