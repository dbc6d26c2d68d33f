"""One site in a few words, from its rows: what the fleet's table shows, and how badly off it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agents.contracts.codec import Struct
from agents.contracts.health import unpack
from agents.contracts.messages import NodeState, Phase
from cloud_endpoint.page.liveness import Liveness

ALERT_MS = 24 * 3600 * 1000
"""An alert counts in a site's summary for so long after it was last raised; it stays in the site's list."""

WHOLE = "*"
"""The app that means the whole Atlas."""
GOOD = frozenset({Phase.HEALTHY, Phase.REPAIRED})
WORKING = frozenset({Phase.CHECKING, Phase.APPLYING, Phase.WAITING})


class Beating(Struct, frozen=True, kw_only=True):
    """What of a beat lasts longer than the beat."""

    boot: str
    ok: int
    via: str


class NodeSummary(Struct, frozen=True, kw_only=True):
    """`status`: shipped, enrolled or revoked; `state`: Edge Commander's, "" unknown; `bad`: how many things it finds
    wrong with itself; `interval` of its beats in s."""

    id: str
    name: str
    status: str
    live: Liveness
    state: str
    bad: int
    interval: float


class AppCounts(Struct, frozen=True, kw_only=True):
    """Apps by what came of them; `failed`: refused, partial or degraded; `held` waits for a person."""

    total: int = 0
    good: int = 0
    working: int = 0
    held: int = 0
    failed: int = 0


class SiteSummary(Struct, frozen=True, kw_only=True):
    """One line of the fleet. `v` rises with each change but beats. `alerts`: critical, warning, info of a day.
    `revision`: of the newest deployment. `rank`: the higher the worse, 0 when all is well."""

    site: str
    v: int
    rank: int
    labels: dict[str, str]
    nodes: list[NodeSummary]
    apps: AppCounts
    revision: str
    revision_ms: int
    steps: int
    failing: int
    alerts: tuple[int, int, int]


class AppRow(Struct, frozen=True, kw_only=True):
    """Of a stored Deployment what the summary needs."""

    app: str
    phase: Phase
    revision: str
    received_ms: int


class StepRow(Struct, frozen=True, kw_only=True):
    """Of a stored StepResult what the summary needs."""

    scenario: str
    step: str
    ok: int
    failed: int


class AlertRow(Struct, frozen=True, kw_only=True):
    """Of an alert what the summary needs."""

    severity: str
    last_ms: int


class NodeRow(Struct, frozen=True, kw_only=True):
    """One node as stored; None where nothing came yet."""

    id: str
    name: str
    status: str
    beat_ms: int | None
    beat: Beating | None
    interval: float | None
    state: str


class SiteRows(Struct, frozen=True, kw_only=True):
    """All that the store says of a site, of what the summary needs."""

    site: str
    labels: dict[str, str]
    nodes: list[NodeRow]
    apps: list[AppRow]
    steps: list[StepRow]
    alerts: list[AlertRow]


def summarise(rows: SiteRows, live: dict[str, Liveness], *, version: int, interval: float, now_ms: int) -> SiteSummary:
    """`live`: by node id; `interval`: of nodes that have not told theirs, in s."""
    nodes = [
        NodeSummary(
            id=node.id,
            name=node.name,
            status=node.status,
            live=live[node.id],
            state=node.state,
            bad=0 if node.beat is None else unpack(node.beat.ok).bad.bit_count(),
            interval=node.interval or interval,
        )
        for node in rows.nodes
    ]
    apps = count_apps((row.app, row.phase) for row in rows.apps)
    failing = sum(step.failed > 0 for step in rows.steps)
    alerts = count_alerts(rows.alerts, now_ms)
    named = [row for row in rows.apps if row.revision]  # a report about Git itself names no commit
    newest = max(named, key=lambda row: row.received_ms, default=None)
    return SiteSummary(
        site=rows.site,
        v=version,
        rank=rank(nodes, apps, failing, alerts),
        labels=rows.labels,
        nodes=nodes,
        apps=apps,
        revision="" if newest is None else newest.revision,
        revision_ms=0 if newest is None else newest.received_ms,
        steps=len(rows.steps),
        failing=failing,
        alerts=alerts,
    )


def count_apps(apps: Iterable[tuple[str, Phase]]) -> AppCounts:
    """Counts (app, phase) in the words of AppCounts.

    The line of the whole Atlas is no app; what is wrong with it counts where no app says the same already.
    """
    found = list(apps)
    kinds = [_kind(phase) for app, phase in found if app != WHOLE]
    counts = {kind: kinds.count(kind) for kind in ("good", "working", "held", "failed")}
    for kind in {_kind(phase) for app, phase in found if app == WHOLE} - {"good"}:
        counts[kind] = counts[kind] or 1
    return AppCounts(total=len(kinds), **counts)


def _kind(phase: Phase) -> str:
    if phase in GOOD:
        return "good"
    if phase in WORKING:
        return "working"
    return "held" if phase is Phase.PRUNE_HELD else "failed"


def count_alerts(alerts: Iterable[AlertRow], now_ms: int) -> tuple[int, int, int]:
    """Critical, warning and info, of those raised within ALERT_MS."""
    fresh = [alert.severity for alert in alerts if alert.last_ms + ALERT_MS > now_ms]
    return (
        fresh.count("critical"),
        fresh.count("warning"),
        len(fresh) - fresh.count("critical") - fresh.count("warning"),
    )


def rank(nodes: list[NodeSummary], apps: AppCounts, failing: int, alerts: tuple[int, int, int]) -> int:
    """How badly off: a lost node outweighs a failed deployment, that a failing step, that an alert, that a doubt."""
    counted = [node for node in nodes if node.status == "enrolled"]
    silent = sum(node.live is Liveness.SILENT for node in counted)
    late = sum(node.live in (Liveness.LATE, Liveness.NEVER) for node in counted)
    unready = sum(node.state not in ("", NodeState.READY.value) for node in counted)
    unwell = sum(node.bad > 0 for node in counted)
    return (
        silent * 10_000
        + (10_000 if counted and silent == len(counted) else 0)
        + apps.failed * 1_000
        + failing * 200
        + alerts[0] * 100
        + late * 50
        + (alerts[1] + apps.held + unwell + unready) * 10
        + apps.working
    )
