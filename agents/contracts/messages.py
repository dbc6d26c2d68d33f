"""The bodies that travel on the four streams: one tagged union, its tag is `kind`. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import Stream

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Short = Annotated[str, msgspec.Meta(max_length=256)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Via(StrEnum):
    """Which of heartbeat's two forms sent the beat."""

    UNIT = "unit"
    POD = "pod"


class Beat(Struct, frozen=True, kw_only=True, tag="beat", tag_field="kind"):
    """`I am alive`. Small: with its envelope at most 160 bytes.

    `boot`: first 8 hex digits of the boot id. `up`: uptime in s. `ok`: health bits, see health.pack and unpack.
    `wit`: bit i set when the i-th sibling of the roster (sorted by node id, self left out) answered; 0 while
    nothing asks them.
    """

    v: int = 1
    boot: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
    up: Count
    ok: Count
    wit: Count = 0
    via: Via = Via.UNIT


class Disk(Struct, frozen=True, kw_only=True):
    """One file system: sizes in bytes, without what is kept for root (so `1 - free / total` is what df says), inodes
    free in percent."""

    path: Short
    total: Count
    free: Count
    inodes_free_percent: Annotated[float, msgspec.Meta(ge=0, le=100)]


class Link(Struct, frozen=True, kw_only=True):
    """One network interface: addresses as text, speed in Mbit/s (0: unknown)."""

    name: Short
    up: bool
    speed: Count
    addresses: list[Short]


class Facts(Struct, frozen=True, kw_only=True, tag="facts", tag_field="kind"):
    """What a node is: sent on change and every 15 minutes. Memory in bytes, times in Unix ms."""

    v: int = 1
    boot_id: Short
    boot_time: Count
    hostname: Short
    hardware: Short
    serial: Short
    kernel: Short
    os: Short
    versions: dict[Short, Short]
    cpus: Count
    memory_total: Count
    memory_available: Count
    load: list[float]
    disks: list[Disk]
    links: list[Link]
    temperature: float | None = None
    clock_synchronized: bool | None = None
    interval: Seconds


class Phase(StrEnum):
    """Where a deployment of one app stands."""

    CHECKING = "checking"
    APPLYING = "applying"
    WAITING = "waiting"
    HEALTHY = "healthy"
    REFUSED = "refused"  # nothing was changed
    PARTIAL = "partial"  # stopped after something was changed
    DEGRADED = "degraded"  # applied, did not become healthy in time
    PRUNE_HELD = "prune-held"  # healthy, but deletions wait for a person's word
    REPAIRED = "repaired"  # drift was undone


class Problem(Struct, frozen=True, kw_only=True):
    """One error with its place: `file` relative to the Atlas, `line` from 1 (0: unknown), `path` in the object."""

    cause: Text
    file: Text = ""
    line: Count = 0
    object: Text = ""
    path: Text = ""


class Counts(Struct, frozen=True, kw_only=True):
    """Objects of one pass."""

    total: Count = 0
    created: Count = 0
    changed: Count = 0
    unchanged: Count = 0
    pruned: Count = 0
    repaired: Count = 0
    healthy: Count = 0


class Deployment(Struct, frozen=True, kw_only=True, tag="deployment", tag_field="kind"):
    """What came of one app at one revision. `durations` in s by step name. App `*` means the whole Atlas."""

    v: int = 1
    app: Short
    owner: Short
    revision: Short
    phase: Phase
    counts: Counts
    problems: Annotated[list[Problem], msgspec.Meta(max_length=50)]
    durations: dict[Short, Seconds]
    subject: Short = ""  # first line of the commit message
    author: Short = ""


class Histogram(Struct, frozen=True, kw_only=True):
    """Latencies since the last report. `buckets[i]` counts those at most `bounds[i]` s; the last has no bound."""

    bounds: list[float]
    buckets: list[Count]
    sum: Seconds
    count: Count
    max: Seconds


class StepResult(Struct, frozen=True, kw_only=True):
    """One step of a scenario since the last report. `errors` counts failures by kind, such as `timeout`."""

    step: Short
    type: Short
    ok: Count
    failed: Count
    latency: Histogram
    error: Text = ""  # the last one
    errors: dict[Short, Count] = {}


class Synthetic(Struct, frozen=True, kw_only=True, tag="synthetic", tag_field="kind"):
    """Results of one scenario over one reporting window of `seconds`."""

    v: int = 1
    scenario: Short
    seconds: Seconds
    steps: Annotated[list[StepResult], msgspec.Meta(max_length=100)]


class NodeState(StrEnum):
    """Edge Commander's states."""

    FACTORY = "factory"
    ENROLLING = "enrolling"
    ASSIGNED = "assigned"
    FORMING = "forming"
    READY = "ready"
    WIPING = "wiping"
    RETIRED = "retired"


class State(Struct, frozen=True, kw_only=True, tag="state", tag_field="kind"):
    """The node's state and why; `since` in Unix ms."""

    v: int = 1
    state: NodeState
    reason: Text
    since: Count


class Severity(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Struct, frozen=True, kw_only=True, tag="alert", tag_field="kind"):
    """A daemon's own alarm, such as a quarantined state file. `code` is stable, `text` for people."""

    v: int = 1
    code: Short
    severity: Severity
    text: Text


class CommandResult(Struct, frozen=True, kw_only=True, tag="command-result", tag_field="kind"):
    """What came of one command, answered once."""

    v: int = 1
    command_id: Short
    verb: Short
    outcome: Annotated[str, msgspec.Meta(pattern="^(done|failed|refused)$")]
    detail: Text


class Challenge(Struct, frozen=True, kw_only=True, tag="challenge", tag_field="kind"):
    """The value that the next command to this node must carry: published by Edge Commander, single use.

    `challenge`: 128 random bits in base64url without padding. `expires`: Unix s by the endpoint's clock; a newer
    message replaces an older one, which the node may still honour until it is used or expires.
    """

    v: int = 1
    challenge: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{22}$")]
    expires: Count


class Overlay(Struct, frozen=True, kw_only=True, tag="overlay", tag_field="kind"):
    """How a node's /etc differs from its image: sent on change. Names, never contents.

    `image`: its version. `drift`: how many paths differ that may not; `paths`: the first of them, relative to /etc.
    `newer`: those that may differ, and below which the image has something newer. `dropped`: what early boot dropped
    for a newer image and `keep` still has. `problems`: of this boot; `memory`: changes are gone with the next start.
    """

    v: int = 1
    image: Short
    drift: Count
    paths: Annotated[list[Short], msgspec.Meta(max_length=10)]
    newer: Count = 0
    dropped: Count = 0
    problems: Count = 0
    memory: bool = False


Body = Beat | Facts | Deployment | Synthetic | State | Alert | CommandResult | Challenge | Overlay

KINDS: dict[Stream, frozenset[str]] = {
    Stream.HEARTBEAT: frozenset({"beat", "facts", "alert"}),
    Stream.VESSEL: frozenset({"deployment", "alert"}),
    Stream.SYNTHETIC: frozenset({"synthetic", "alert"}),
    Stream.COMMANDER: frozenset({"state", "command-result", "alert", "facts", "challenge", "overlay"}),
}
"""What each stream may carry."""


def kind_of(body: Any) -> str:
    """The tag of a body."""
    return str(type(body).__struct_config__.tag)
