"""SQL of the page's sessions: stored by the hash of the cookie, ended by time, logout, or the operator's revocation."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import load

MAX_PER_OPERATOR = 20
"""Open sessions of one person; the one that would end first makes room."""
SLIDE_MS = 30_000
"""An expiry is moved only when it moves by this much, so that reading rarely writes."""


@dataclass(frozen=True)
class Session:
    """A person's session. `site`: the only one that may be seen, None for all. `expires_ms` slides."""

    id_hash: str
    operator: str
    scopes: tuple[str, ...]
    site: str | None
    csrf: str
    created_ms: int
    expires_ms: int


def open_session(tx: Tx, id_hash: str, operator: str, csrf: str, expires_ms: int) -> None:
    """Stores a new session."""
    tx.execute(
        "DELETE FROM sessions WHERE id_hash IN (SELECT id_hash FROM sessions WHERE operator = ?"
        " ORDER BY expires_ms DESC LIMIT 1000000 OFFSET ?)",
        (operator, MAX_PER_OPERATOR - 1),
    )
    tx.execute(
        "INSERT INTO sessions (id_hash, operator, csrf, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?)",
        (id_hash, operator, csrf, tx.now_ms, expires_ms),
    )


def find(tx: Tx, id_hash: str) -> Session | None:
    """The session, while it lasts and its operator is not revoked."""
    rows = tx.execute(
        "SELECT s.id_hash, s.operator, s.csrf, s.created_ms, s.expires_ms, o.scopes, o.site FROM sessions AS s"
        " JOIN operators AS o ON o.name = s.operator"
        " WHERE s.id_hash = ? AND s.expires_ms > ? AND o.revoked_ms IS NULL",
        (id_hash, tx.now_ms),
    )
    if not rows:
        return None
    return Session(**{**rows[0], "scopes": tuple(load(rows[0]["scopes"]))})


def slide(tx: Tx, id_hash: str, expires_ms: int) -> None:
    """Moves the expiry."""
    tx.execute("UPDATE sessions SET expires_ms = ? WHERE id_hash = ?", (expires_ms, id_hash))


def close_session(tx: Tx, id_hash: str) -> None:
    """Ends a session."""
    tx.execute("DELETE FROM sessions WHERE id_hash = ?", (id_hash,))
