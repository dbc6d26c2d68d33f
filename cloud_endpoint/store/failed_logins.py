"""SQL of refused logins: one counted line of the audit for each source and window, so that nobody can fill it."""

from __future__ import annotations

from cloud_endpoint.rules.ratelimit import source_key
from cloud_endpoint.store import audit
from cloud_endpoint.store.port import Tx

WINDOW_MS = 3_600_000
MAX_SOURCES = 100
"""Sources with a line of their own in one window; all further ones share one."""
OTHERS = "others"


def note(tx: Tx, source: str) -> None:
    """One more refused login from there."""
    key, start = source_key(source), tx.now_ms - WINDOW_MS
    tx.execute("DELETE FROM failed_logins WHERE since_ms <= ?", (start,))
    if not _known(tx, key) and _sources(tx) >= MAX_SOURCES:
        key = OTHERS
    if not _known(tx, key):
        line = audit.add(tx, "unknown", "login", "page", outcome="refused", detail=_text(1), source=key)
        tx.execute("INSERT INTO failed_logins (source, audit_id, since_ms) VALUES (?, ?, ?)", (key, line, tx.now_ms))
        return
    row = tx.execute("UPDATE failed_logins SET tries = tries + 1 WHERE source = ? RETURNING audit_id, tries", (key,))[0]
    audit.say(tx, row["audit_id"], _text(row["tries"]))


def _known(tx: Tx, key: str) -> bool:
    return bool(tx.execute("SELECT source FROM failed_logins WHERE source = ?", (key,)))


def _sources(tx: Tx) -> int:
    return int(tx.execute("SELECT COUNT(*) AS n FROM failed_logins")[0]["n"])


def _text(tries: int) -> str:
    return f"{tries} {'try' if tries == 1 else 'tries'} within an hour"
