"""SQL of the page's summaries: whole sites in slices, and the beats of given nodes. Reads alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from agents.contracts.messages import Phase
from cloud_endpoint.page.summary import ALERT_MS, AlertRow, AppRow, Beating, NodeRow, SiteRows, StepRow
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.text import load

SLICE = 200
"""Sites or nodes in one statement."""
T = TypeVar("T")


class _Interval(msgspec.Struct):
    interval: float


class _State(msgspec.Struct):
    state: str


class _App(msgspec.Struct):
    phase: Phase
    revision: str = ""


class _Step(msgspec.Struct):
    ok: int
    failed: int


def site_ids(tx: Tx) -> list[str]:
    """All sites."""
    return [row["site"] for row in tx.execute("SELECT site FROM sites ORDER BY site")]


def read_sites(tx: Tx, sites: Sequence[str]) -> list[SiteRows]:
    """Those of the sites that exist, at most SLICE at once."""
    marks = ", ".join("?" * len(sites))
    found = tx.execute(f"SELECT site, labels FROM sites WHERE site IN ({marks})", sites)  # noqa: S608
    nodes = _nodes(tx, sites)
    apps = _grouped(tx.execute(f"SELECT site, app, received_ms, body FROM deployments WHERE site IN ({marks})", sites))  # noqa: S608
    steps = _grouped(tx.execute(f"SELECT site, scenario, step, body FROM synthetics WHERE site IN ({marks})", sites))  # noqa: S608
    alerts = _grouped(
        tx.execute(
            f"SELECT site, severity, last_ms FROM alerts WHERE site IN ({marks}) AND last_ms > ?",  # noqa: S608
            [*sites, tx.now_ms - ALERT_MS],
        )
    )
    return [
        SiteRows(
            site=(site := row["site"]),
            labels=load(row["labels"]),
            nodes=nodes.get(site, []),
            apps=[_app(app) for app in apps.get(site, [])],
            steps=[_step(step) for step in steps.get(site, [])],
            alerts=[AlertRow(severity=alert["severity"], last_ms=alert["last_ms"]) for alert in alerts.get(site, [])],
        )
        for row in found
    ]


def read_beats(tx: Tx, nodes: Iterable[str]) -> list[tuple[str, int, Beating]]:
    """The newest beat of each: node, receipt in Unix ms, what lasts of it."""
    found = []
    for part in _slices(sorted(nodes)):
        marks = ", ".join("?" * len(part))
        rows = tx.execute(
            f"SELECT node, received_ms, body FROM node_latest WHERE node IN ({marks}) AND kind = 'beat'",  # noqa: S608
            part,
        )
        found += [(row["node"], row["received_ms"], msgspec.json.decode(row["body"], type=Beating)) for row in rows]
    return found


def sites_of(tx: Tx, nodes: Iterable[str]) -> set[str]:
    """Where these nodes belong."""
    found: set[str] = set()
    for part in _slices(sorted(nodes)):
        marks = ", ".join("?" * len(part))
        rows = tx.execute(
            f"SELECT site FROM devices WHERE node IN ({marks})"  # noqa: S608
            f" UNION SELECT site FROM shipping WHERE node IN ({marks})",
            [*part, *part],
        )
        found |= {row["site"] for row in rows}
    return found


def waiting_count(tx: Tx) -> int:
    """Devices that wait for a person's word."""
    count: int = tx.execute("SELECT COUNT(*) AS n FROM enrolments WHERE status <> 'barred'")[0]["n"]
    return count


def fleet_alert_count(tx: Tx) -> int:
    """Alerts of the last day that belong to no site."""
    rows = tx.execute("SELECT COUNT(*) AS n FROM alerts WHERE site = '' AND last_ms > ?", (tx.now_ms - ALERT_MS,))
    count: int = rows[0]["n"]
    return count


def _nodes(tx: Tx, sites: Sequence[str]) -> dict[str, list[NodeRow]]:
    marks = ", ".join("?" * len(sites))
    rows = tx.execute(
        f"SELECT site, node, name, status FROM devices WHERE site IN ({marks})"  # noqa: S608
        f" UNION ALL SELECT site, node, name, 'shipped' FROM shipping WHERE site IN ({marks})"
        " AND NOT EXISTS (SELECT 1 FROM devices WHERE devices.node = shipping.node) ORDER BY 1, 3",
        [*sites, *sites],
    )
    latest: dict[str, dict[str, Row]] = defaultdict(dict)
    for part in _slices([row["node"] for row in rows]):
        marks = ", ".join("?" * len(part))
        for row in tx.execute(
            f"SELECT node, kind, received_ms, body FROM node_latest WHERE node IN ({marks})"  # noqa: S608
            " AND kind IN ('beat', 'facts', 'state')",
            part,
        ):
            latest[row["node"]][row["kind"]] = row
    nodes: dict[str, list[NodeRow]] = defaultdict(list)
    for row in rows:
        nodes[row["site"]].append(_node(row, latest[row["node"]]))
    return nodes


def _node(row: Row, latest: dict[str, Row]) -> NodeRow:
    beat, facts, state = latest.get("beat"), latest.get("facts"), latest.get("state")
    return NodeRow(
        id=row["node"],
        name=row["name"],
        status=row["status"],
        beat_ms=None if beat is None else beat["received_ms"],
        beat=None if beat is None else msgspec.json.decode(beat["body"], type=Beating),
        interval=None if facts is None else msgspec.json.decode(facts["body"], type=_Interval).interval,
        state="" if state is None else msgspec.json.decode(state["body"], type=_State).state,
    )


def _app(row: Row) -> AppRow:
    body = msgspec.json.decode(row["body"], type=_App)
    return AppRow(app=row["app"], phase=body.phase, revision=body.revision, received_ms=row["received_ms"])


def _step(row: Row) -> StepRow:
    body = msgspec.json.decode(row["body"], type=_Step)
    return StepRow(scenario=row["scenario"], step=row["step"], ok=body.ok, failed=body.failed)


def _grouped(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["site"]].append(row)
    return groups


def _slices(items: list[T]) -> list[list[T]]:
    return [items[at : at + SLICE] for at in range(0, len(items), SLICE)]
