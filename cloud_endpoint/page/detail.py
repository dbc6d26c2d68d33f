"""All that the page shows of one site, from the store's records. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.messages import Counts, Deployment, Phase, Problem, StepResult
from cloud_endpoint.page.liveness import Liveness
from cloud_endpoint.page.quantiles import quantile
from cloud_endpoint.page.words import HealthWords, health_words
from cloud_endpoint.records import (
    AlertRecord,
    DeadLetterRecord,
    DeploymentRecord,
    GapRecord,
    HistoryRecord,
    NodeRecord,
    SiteRecord,
    SyntheticRecord,
)

WRONG_CLOCK = "waiting: clock"
"""How the reason begins where a node does not trust its own time."""
HISTORY_PROBLEMS = 3
"""Problems of one line of the history; the current state has them all."""


class NodeDetail(Struct, frozen=True, kw_only=True):
    """A node. `up`: uptime in s at `beat_ms`. `state_since`: Unix ms by the node's clock, see state_since()."""

    id: str
    name: str
    address: str
    status: str
    live: Liveness
    interval: float
    beat_ms: int | None
    up: int | None
    via: str
    health: HealthWords | None
    state: str
    state_reason: str
    state_since: int | None
    facts_ms: int | None
    facts: dict[str, Any] | None


class AppDetail(Struct, frozen=True, kw_only=True):
    """What came of an app at a revision. `more`: problems left out. `t`: the node's clock, Unix ms."""

    id: int
    app: str
    owner: str
    revision: str
    phase: Phase
    counts: Counts
    problems: list[Problem]
    more: int
    subject: str
    author: str
    seconds: float
    t: int
    received_ms: int
    node: str


class StepDetail(Struct, frozen=True, kw_only=True):
    """The last window of a step, `seconds` long; latencies in s, None without samples."""

    scenario: str
    step: str
    type: str
    ok: int
    failed: int
    error: str
    errors: dict[str, int]
    p50: float | None
    p95: float | None
    max: float | None
    bounds: list[float]
    buckets: list[int]
    seconds: float
    received_ms: int


class Atlas(Struct, frozen=True, kw_only=True):
    """Where the Atlas lies, without credentials."""

    url: str
    branch: str
    path: str


class SiteDetail(Struct, frozen=True, kw_only=True):
    """`GET /v1/fleet/overview/{site}`."""

    site: str
    labels: dict[str, str]
    atlas: Atlas | None
    now: int
    nodes: list[NodeDetail]
    apps: list[AppDetail]
    history: list[AppDetail]
    steps: list[StepDetail]
    alerts: list[AlertRecord]
    gaps: list[GapRecord]
    unreadable: list[DeadLetterRecord]


def site_detail(
    site: SiteRecord,
    nodes: list[NodeDetail],
    deployments: list[DeploymentRecord],
    history: list[HistoryRecord],
    synthetics: list[SyntheticRecord],
    *,
    now_ms: int,
    alerts: list[AlertRecord],
    gaps: list[GapRecord],
    unreadable: list[DeadLetterRecord],
) -> SiteDetail:
    """Puts it together."""
    names = {node.id: node.name for node in nodes}
    atlas = site.atlas
    return SiteDetail(
        site=site.site,
        labels=site.labels,
        atlas=None
        if atlas is None
        else Atlas(url=without_credentials(atlas.url), branch=atlas.branch, path=atlas.path),
        now=now_ms,
        nodes=nodes,
        apps=[
            app_detail(d.body, t=d.t, received_ms=d.received_ms, node=names.get(d.node, d.node)) for d in deployments
        ],
        history=[
            app_detail(
                h.body,
                number=h.id,
                t=h.t,
                received_ms=h.received_ms,
                node=names.get(h.node, h.node),
                most=HISTORY_PROBLEMS,
            )
            for h in history
        ],
        steps=[step_detail(record) for record in synthetics],
        alerts=alerts,
        gaps=sorted(gaps, key=lambda gap: -gap.at_ms),
        unreadable=sorted(unreadable, key=lambda letter: -letter.at_ms),
    )


def node_detail(record: NodeRecord, live: Liveness, interval: float) -> NodeDetail:
    """`interval`: of a node that has not told its own, in s."""
    beat, facts, state = record.beat or {}, record.facts or {}, record.state or {}
    return NodeDetail(
        id=record.node,
        name=record.name,
        address=record.address,
        status=record.status,
        live=live,
        interval=facts.get("interval") or interval,
        beat_ms=record.beat_ms,
        up=beat.get("up"),
        via=beat.get("via", ""),
        health=health_words(beat["ok"]) if beat else None,
        state=state.get("state", ""),
        state_reason=state.get("reason", ""),
        state_since=state_since(state, record.state_ms),
        facts_ms=record.facts_ms,
        facts=record.facts,
    )


def state_since(state: dict[str, Any], received_ms: int | None) -> int | None:
    """Since when a node is in its state for its reason, Unix ms; None while it is unknown.

    A node that says its clock is wrong, or names a time after the receipt, is not believed: then the receipt counts.
    """
    since: int | None = state.get("since")
    if since is None or received_ms is None:
        return since
    return received_ms if state.get("reason", "").startswith(WRONG_CLOCK) else min(since, received_ms)


def app_detail(
    body: dict[str, Any], *, number: int = 0, t: int, received_ms: int, node: str, most: int | None = None
) -> AppDetail:
    """Of a Deployment's body; `most`: problems to show."""
    deployment = msgspec.convert({k: v for k, v in body.items() if k != "kind"} | {"kind": "deployment"}, Deployment)
    shown = deployment.problems[:most]
    return AppDetail(
        id=number,
        app=deployment.app,
        owner=deployment.owner,
        revision=deployment.revision,
        phase=deployment.phase,
        counts=deployment.counts,
        problems=shown,
        more=len(deployment.problems) - len(shown),
        subject=deployment.subject,
        author=deployment.author,
        seconds=sum(deployment.durations.values()),
        t=t,
        received_ms=received_ms,
        node=node,
    )


def step_detail(record: SyntheticRecord) -> StepDetail:
    """Of a StepResult's body."""
    result = msgspec.convert(record.body, StepResult)
    return StepDetail(
        scenario=record.scenario,
        step=record.step,
        type=result.type,
        ok=result.ok,
        failed=result.failed,
        error=result.error,
        errors=result.errors,
        p50=quantile(result.latency, 0.5),
        p95=quantile(result.latency, 0.95),
        max=result.latency.max if result.latency.count else None,
        bounds=result.latency.bounds,
        buckets=result.latency.buckets,
        seconds=record.seconds,
        received_ms=record.received_ms,
    )


def without_credentials(url: str) -> str:
    """The address without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
