"""What each message changes in the record: the latest of its kind, and the history. In the ingest's transaction."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contracts.messages import (
    Alert,
    Beat,
    Body,
    Challenge,
    CommandResult,
    Deployment,
    Facts,
    Synthetic,
    kind_of,
)
from cloud_endpoint.rules.newer import Position, is_newer
from cloud_endpoint.store import audit, commands
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.text import dump

MAX_APPS = 500
"""Apps kept per site; beyond that the longest silent ones are forgotten."""
MAX_STEPS = 1000
"""Synthetic steps kept per site."""


@dataclass(frozen=True)
class Arrived:
    """One message with its place."""

    site: str
    node: str
    at: Position
    body: Body
    text: str


def apply(tx: Tx, message: Arrived) -> None:
    """Stores what one message says."""
    body = message.body
    key = ""
    if isinstance(body, Deployment):
        key = body.app
        _deployment(tx, message, body)
    elif isinstance(body, Synthetic):
        key = body.scenario
        _synthetic(tx, message, body)
    elif isinstance(body, Alert):
        key = body.code
        audit.raise_alert(
            tx,
            site=message.site,
            node=message.node,
            code=body.code,
            severity=body.severity.value,
            text=body.text,
            source="node",
        )
    elif isinstance(body, CommandResult):
        key = body.command_id
        commands.answered(tx, message.node, message.site, body)
    else:
        _latest(tx, message)
    if not isinstance(body, Facts | Challenge):
        tx.execute(
            "INSERT INTO history (site, node, kind, key, t, received_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (message.site, message.node, kind_of(body), key, message.at.t, tx.now_ms, message.text),
        )
    if isinstance(body, Beat):  # many a second in a large fleet: who shows sites must not read them anew for each
        tx.notify(f"beat:{message.node}")
    else:
        tx.notify(f"node:{message.node}")
        tx.notify(f"site:{message.site}")


def _latest(tx: Tx, message: Arrived) -> None:
    kind = kind_of(message.body)
    known = tx.execute(
        "SELECT run, seq, t, received_ms FROM node_latest WHERE node = ? AND kind = ?", (message.node, kind)
    )
    if not is_newer(message.at, _position(known), tx.now_ms):
        return
    tx.execute(
        "INSERT INTO node_latest (node, kind, site, run, seq, t, received_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (node, kind) DO UPDATE SET site = excluded.site, run = excluded.run, seq = excluded.seq,"
        " t = excluded.t, received_ms = excluded.received_ms, body = excluded.body",
        (message.node, kind, message.site, message.at.run, message.at.seq, message.at.t, tx.now_ms, message.text),
    )


def _deployment(tx: Tx, message: Arrived, body: Deployment) -> None:
    known = tx.execute(
        "SELECT run, seq, t, received_ms FROM deployments WHERE site = ? AND app = ?", (message.site, body.app)
    )
    if not is_newer(message.at, _position(known), tx.now_ms):
        return
    tx.execute(
        "INSERT INTO deployments (site, app, node, run, seq, t, received_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (site, app) DO UPDATE SET node = excluded.node, run = excluded.run, seq = excluded.seq,"
        " t = excluded.t, received_ms = excluded.received_ms, body = excluded.body",
        (
            message.site,
            body.app,
            message.node,
            message.at.run,
            message.at.seq,
            message.at.t,
            tx.now_ms,
            message.text,
        ),
    )
    if not known:
        tx.execute(
            "DELETE FROM deployments WHERE site = ? AND app IN (SELECT app FROM deployments WHERE site = ?"
            " ORDER BY received_ms DESC, seq DESC LIMIT 1000000 OFFSET ?)",
            (message.site, message.site, MAX_APPS),
        )


def _synthetic(tx: Tx, message: Arrived, body: Synthetic) -> None:
    rows = tx.execute(
        "SELECT step, run, seq, t, received_ms FROM synthetics WHERE site = ? AND scenario = ?",
        (message.site, body.scenario),
    )
    known = {row["step"]: row for row in rows}
    for step in body.steps:
        if not is_newer(message.at, _position([known[step.step]] if step.step in known else []), tx.now_ms):
            continue
        tx.execute(
            "INSERT INTO synthetics (site, scenario, step, node, run, seq, t, received_ms, seconds, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, scenario, step) DO UPDATE SET"
            " node = excluded.node, run = excluded.run, seq = excluded.seq, t = excluded.t,"
            " received_ms = excluded.received_ms, seconds = excluded.seconds, body = excluded.body",
            (
                message.site,
                body.scenario,
                step.step,
                message.node,
                message.at.run,
                message.at.seq,
                message.at.t,
                tx.now_ms,
                body.seconds,
                dump(step),
            ),
        )
    if any(step.step not in known for step in body.steps):
        tx.execute(
            "DELETE FROM synthetics WHERE site = ? AND (scenario, step) IN (SELECT scenario, step FROM synthetics"
            " WHERE site = ? ORDER BY received_ms DESC, seq DESC LIMIT 1000000 OFFSET ?)",
            (message.site, message.site, MAX_STEPS),
        )


def _position(rows: list[Row]) -> Position | None:
    return Position(rows[0]["run"], rows[0]["seq"], rows[0]["t"], rows[0]["received_ms"]) if rows else None
