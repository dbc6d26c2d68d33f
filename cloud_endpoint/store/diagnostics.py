"""SQL of diagnostics bundles: opened for a command, taken piece by piece, whole once their digest is right.

Pieces are rows, so that a bundle may begin at one replica and end at another. Only a command that was sent to the node
opens one; budgets by node and in all make the oldest go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from agents.contracts.command import Verb
from agents.contracts.diagnostics import BundleOpen, BundleState
from agents.core.errors import Rejected
from cloud_endpoint.records import BundleRecord
from cloud_endpoint.settings import Diagnostics
from cloud_endpoint.store import audit
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.text import record


class PieceRefused(Rejected):
    """A piece, or a whole bundle, is not what its sender says."""


def open_(tx: Tx, node: str, site: str, asked: BundleOpen, limits: Diagnostics) -> BundleState:
    """The bundle's state; made where it is new. Raises Rejected for a bundle that nobody asked this node for, or that
    is too large."""
    command = tx.execute(
        "SELECT verb FROM commands WHERE command_id = ? AND node = ? AND site = ?", (asked.command_id, node, site)
    )
    if not command or command[0]["verb"] != Verb.COLLECT_DIAGNOSTICS.value:
        raise Rejected("no bundle was asked of this node by that command", path="command_id")
    if asked.size > limits.bundle_bytes:
        raise Rejected(f"the bundle is larger than {limits.bundle_bytes} bytes", path="size")
    rows = tx.execute("SELECT * FROM diagnostics WHERE command_id = ?", (asked.command_id,))
    if rows and (rows[0]["size"], rows[0]["sha256"]) != (asked.size, asked.sha256):
        _drop(tx, rows[0]["id"])
        rows = []
    if not rows:
        rows = tx.execute(
            "INSERT INTO diagnostics (node, site, command_id, size, sha256, received, opened_ms, whole_ms)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, 0) RETURNING *",
            (node, site, asked.command_id, asked.size, asked.sha256, tx.now_ms),
        )
        _thin_out(tx, node, int(rows[0]["id"]), limits)
    return _state(rows[0])


def state(tx: Tx, node: str, site: str, bundle: int) -> BundleState:
    """How far it came. Raises Rejected where this node has no such bundle, or no more."""
    return _state(_own(tx, node, site, bundle))


def append(tx: Tx, node: str, site: str, bundle: int, *, offset: int, piece: bytes) -> BundleState:
    """Takes a piece where it is the next one, and says how far the bundle came; another is not taken, and told the
    same way where to go on. The last one's arrival is judged: what is not what was said is forgotten, all of it.

    Raises Rejected where there is no such bundle.
    """
    row = _own(tx, node, site, bundle)
    if offset != row["received"] or row["whole_ms"] or not piece:
        return _state(row)
    received = offset + len(piece)
    if received > row["size"]:
        raise PieceRefused("the piece goes past the end of the bundle")
    tx.execute("INSERT INTO diagnostics_pieces (bundle, at, body) VALUES (?, ?, ?)", (bundle, offset, piece))
    whole_ms = 0
    if received == row["size"]:
        digest = hashlib.sha256()
        for one in pieces(tx, bundle):
            digest.update(one)
        if digest.hexdigest() == row["sha256"]:
            whole_ms = tx.now_ms
            audit.add(tx, node, "diagnostics", node, detail=f"{received} bytes, command {row['command_id']}")
        else:  # what was broken on the way is sent again from its beginning
            tx.execute("DELETE FROM diagnostics_pieces WHERE bundle = ?", (bundle,))
            received = 0
            audit.add(tx, node, "diagnostics", node, outcome="refused", detail="its digest is not what was said")
    tx.execute("UPDATE diagnostics SET received = ?, whole_ms = ? WHERE id = ?", (received, whole_ms, bundle))
    tx.notify(f"node:{node}")
    return _state({**row, "received": received, "whole_ms": whole_ms})


def of_node(tx: Tx, node: str, limit: int = 100) -> list[BundleRecord]:
    """A node's bundles, the newest first."""
    rows = tx.execute("SELECT * FROM diagnostics WHERE node = ? ORDER BY id DESC LIMIT ?", (node, limit))
    return [record(BundleRecord, row) for row in rows]


def whole(tx: Tx, node: str, bundle: int) -> BundleRecord | None:
    """A bundle that came whole; None where there is none."""
    rows = tx.execute("SELECT * FROM diagnostics WHERE id = ? AND node = ? AND whole_ms > 0", (bundle, node))
    return record(BundleRecord, rows[0]) if rows else None


def pieces(tx: Tx, bundle: int) -> Iterator[bytes]:
    """Its pieces in order, one after another from the store."""
    at = 0
    while (one := piece(tx, bundle, at)) is not None:
        yield one
        at += len(one)


def piece(tx: Tx, bundle: int, at: int) -> bytes | None:
    """The piece that begins at `at`; None at the end."""
    rows = tx.execute("SELECT body FROM diagnostics_pieces WHERE bundle = ? AND at = ?", (bundle, at))
    return bytes(rows[0]["body"]) if rows else None


def prune(tx: Tx, before_ms: int, limit: int) -> int:
    """Forgets bundles that were opened before; at most `limit` of them. How many went."""
    rows = tx.execute("SELECT id FROM diagnostics WHERE opened_ms < ? ORDER BY id LIMIT ?", (before_ms, limit))
    for row in rows:
        _drop(tx, row["id"])
    return len(rows)


def _own(tx: Tx, node: str, site: str, bundle: int) -> Row:
    rows = tx.execute("SELECT * FROM diagnostics WHERE id = ? AND node = ? AND site = ?", (bundle, node, site))
    if not rows:
        raise Rejected("this node has no such bundle, or no more", path="id")
    return rows[0]


def _thin_out(tx: Tx, node: str, kept: int, limits: Diagnostics) -> None:
    """The oldest go, never `kept`: by count of this node, then by bytes in all, as they were announced."""
    for row in tx.execute(
        "SELECT id FROM diagnostics WHERE node = ? AND id <> ? ORDER BY id DESC LIMIT 1000000 OFFSET ?",
        (node, kept, limits.node_bundles - 1),
    ):
        _drop(tx, row["id"])
    total = int(tx.execute("SELECT COALESCE(SUM(size), 0) AS n FROM diagnostics")[0]["n"])
    while total > limits.total_bytes:
        oldest = tx.execute("SELECT id, size FROM diagnostics WHERE id <> ? ORDER BY id LIMIT 1", (kept,))
        if not oldest:
            return
        _drop(tx, oldest[0]["id"])
        total -= int(oldest[0]["size"])


def _drop(tx: Tx, bundle: int) -> None:
    tx.execute("DELETE FROM diagnostics_pieces WHERE bundle = ?", (bundle,))
    tx.execute("DELETE FROM diagnostics WHERE id = ?", (bundle,))


def _state(row: Row) -> BundleState:
    return BundleState(id=row["id"], size=row["size"], offset=row["received"], whole=row["whole_ms"] > 0)
