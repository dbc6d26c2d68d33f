"""SQL that only reads: the fleet as pages and people ask for it."""

from __future__ import annotations

from cloud_endpoint.records import DeploymentRecord, HistoryRecord, NodeRecord, SyntheticRecord
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.text import load, record

_NODES = """
SELECT COALESCE(devices.node, shipping.node) AS node, COALESCE(devices.site, shipping.site) AS site,
    COALESCE(devices.name, shipping.name) AS name, COALESCE(devices.address, shipping.address) AS address,
    COALESCE(devices.status, 'shipped') AS status,
    beat.received_ms AS beat_ms, beat.body AS beat, facts.received_ms AS facts_ms, facts.body AS facts,
    state.received_ms AS state_ms, state.body AS state
FROM (SELECT node FROM devices UNION SELECT node FROM shipping) AS every_node
LEFT JOIN devices ON devices.node = every_node.node
LEFT JOIN shipping ON shipping.node = every_node.node
LEFT JOIN node_latest AS beat ON beat.node = every_node.node AND beat.kind = 'beat'
LEFT JOIN node_latest AS facts ON facts.node = every_node.node AND facts.kind = 'facts'
LEFT JOIN node_latest AS state ON state.node = every_node.node AND state.kind = 'state'
"""


def nodes(tx: Tx, *, site: str | None = None, limit: int = 10_000) -> list[NodeRecord]:
    """All nodes, or one site's, by site and name; shipped ones that never enrolled have the status `shipped`."""
    rows = tx.execute(
        _NODES + " WHERE (? = '' OR COALESCE(devices.site, shipping.site) = ?) ORDER BY 2, 3 LIMIT ?",
        (site or "", site or "", limit),
    )
    return [_node(row) for row in rows]


def node(tx: Tx, node_id: str) -> NodeRecord | None:
    """One node."""
    rows = tx.execute(_NODES + " WHERE every_node.node = ?", (node_id,))
    return _node(rows[0]) if rows else None


def site_of(tx: Tx, node_id: str) -> str | None:
    """Where a node belongs, enrolled or shipped."""
    rows = tx.execute(
        "SELECT site FROM devices WHERE node = ? UNION ALL SELECT site FROM shipping WHERE node = ?", (node_id, node_id)
    )
    return rows[0]["site"] if rows else None


def deployments(tx: Tx, *, site: str | None = None, limit: int = 10_000) -> list[DeploymentRecord]:
    """The last word on each app, by site and app."""
    rows = tx.execute(
        "SELECT * FROM deployments WHERE (? = '' OR site = ?) ORDER BY site, app LIMIT ?",
        (site or "", site or "", limit),
    )
    return [record(DeploymentRecord, row, "body") for row in rows]


def synthetics(tx: Tx, *, site: str | None = None, limit: int = 10_000) -> list[SyntheticRecord]:
    """The last window of each step, by site, scenario and step."""
    rows = tx.execute(
        "SELECT * FROM synthetics WHERE (? = '' OR site = ?) ORDER BY site, scenario, step LIMIT ?",
        (site or "", site or "", limit),
    )
    return [record(SyntheticRecord, row, "body") for row in rows]


def history(
    tx: Tx, site: str, kind: str, *, key: str | None = None, before: int | None = None, limit: int = 100
) -> list[HistoryRecord]:
    """Stored messages of one kind (`beat`, `deployment`, `synthetic`, `state`, `alert`, `command-result`) of a site,
    newest first; `key`: one app, scenario or code; `before`: an id, to page on."""
    where, values = ("AND key = ?", [key]) if key is not None else ("", [])
    rows = tx.execute(
        f"SELECT * FROM history WHERE site = ? AND kind = ? {where} AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        [site, kind, *values, before or 2**62, max(1, min(limit, 1000))],
    )
    return [record(HistoryRecord, row, "body") for row in rows]


def _node(row: Row) -> NodeRecord:
    return record(NodeRecord, {**row, **{name: load(row[name]) for name in ("beat", "facts", "state")}})
