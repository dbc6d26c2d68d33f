"""SQL of the challenges that devices' TPMs must open: one answer each, for five minutes, and few for a device."""

from __future__ import annotations

import hashlib
import hmac

from cloud_endpoint.store.port import Tx

LIFE_MS = 5 * 60 * 1000
MAX_PER_NODE = 8
"""Keys of one node that may have a challenge open. Only listed devices get any, so the table is bounded by the list."""


def add(tx: Tx, node: str, kids: tuple[str, str], ek_hash: str, secret: bytes) -> None:
    """Notes what the TPM must find; an older challenge to the same keys no longer counts.

    `kids`: thumbprints of signing and sealing key.
    """
    tx.execute(
        "INSERT INTO ek_challenges (node, signing_kid, sealing_kid, ek_hash, answer_hash, made_ms, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, signing_kid) DO UPDATE SET"
        " sealing_kid = excluded.sealing_kid, ek_hash = excluded.ek_hash, answer_hash = excluded.answer_hash,"
        " made_ms = excluded.made_ms, expires_ms = excluded.expires_ms",
        (node, *kids, ek_hash, _hashed(secret), tx.now_ms, tx.now_ms + LIFE_MS),
    )
    tx.execute(
        "DELETE FROM ek_challenges WHERE node = ? AND signing_kid NOT IN (SELECT signing_kid FROM ek_challenges"
        " WHERE node = ? ORDER BY made_ms DESC, signing_kid LIMIT ?)",
        (node, node, MAX_PER_NODE),
    )


def spend(tx: Tx, node: str, kids: tuple[str, str], ek_hash: str, answer: bytes) -> bool | None:
    """Whether the answer is right; None where no challenge is open for exactly these keys. It is spent either way."""
    rows = tx.execute("SELECT * FROM ek_challenges WHERE node = ? AND signing_kid = ?", (node, kids[0]))
    tx.execute("DELETE FROM ek_challenges WHERE node = ? AND signing_kid = ?", (node, kids[0]))
    if not rows or rows[0]["expires_ms"] <= tx.now_ms:
        return None
    if (rows[0]["sealing_kid"], rows[0]["ek_hash"]) != (kids[1], ek_hash):
        return None
    return hmac.compare_digest(rows[0]["answer_hash"], _hashed(answer))


def _hashed(secret: bytes) -> str:
    return hashlib.sha256(b"galley-ek-v1\0" + secret).hexdigest()
