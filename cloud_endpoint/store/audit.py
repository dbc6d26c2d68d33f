"""SQL of the audit trail and of alerts."""

from __future__ import annotations

from cloud_endpoint.records import AlertRecord, AuditRecord
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import record

MAX_ALERTS = 500
"""Different alerts kept per node; beyond that the longest silent ones are forgotten."""


def add(
    tx: Tx, actor: str, action: str, target: str, *, outcome: str = "done", detail: str = "", source: str = ""
) -> int:
    """One line: who, from where, what, to whom, what came of it. Never a secret. Returns its id."""
    rows = tx.execute(
        "INSERT INTO audit (at_ms, actor, source, action, target, outcome, detail) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " RETURNING id",
        (tx.now_ms, actor, source, action, target, outcome, detail[:1024]),
    )
    tx.notify("audit")
    return int(rows[0]["id"])


def say(tx: Tx, line: int, detail: str) -> None:
    """Another detail of a line that counts; all else of a line stays for ever."""
    tx.execute("UPDATE audit SET detail = ? WHERE id = ?", (detail[:1024], line))
    tx.notify("audit")


def recent(tx: Tx, *, before: int | None = None, limit: int = 100) -> list[AuditRecord]:
    """The newest lines, newest first; `before`: an id, to page on."""
    rows = tx.execute(
        "SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", (before or 2**62, max(1, min(limit, 1000)))
    )
    return [record(AuditRecord, row) for row in rows]


def raise_alert(tx: Tx, *, site: str, node: str, code: str, severity: str, text: str, source: str = "endpoint") -> None:
    """A new alert, or one more of the same."""
    rows = tx.execute(
        "INSERT INTO alerts (site, node, code, severity, text, source, first_ms, last_ms, count)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (site, node, code, source) DO UPDATE SET"
        " severity = excluded.severity, text = excluded.text, last_ms = excluded.last_ms, count = alerts.count + 1"
        " RETURNING count",
        (site, node, code[:256], severity, text[:4096], source, tx.now_ms, tx.now_ms),
    )
    if rows[0]["count"] == 1:
        tx.execute(
            "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE node = ?"
            " ORDER BY last_ms DESC, id DESC LIMIT 1000000 OFFSET ?)",
            (node, MAX_ALERTS),
        )
    tx.notify("alerts")
    if site:
        tx.notify(f"site:{site}")


def alerts(tx: Tx, *, site: str | None = None, limit: int = 200) -> list[AlertRecord]:
    """Alerts, the last raised first; of one site, or of all."""
    where, values = ("WHERE site = ?", [site]) if site is not None else ("", [])
    rows = tx.execute(f"SELECT * FROM alerts {where} ORDER BY last_ms DESC, id DESC LIMIT ?", [*values, limit])  # noqa: S608
    return [record(AlertRecord, row) for row in rows]
