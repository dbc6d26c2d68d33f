"""SQL that forgets: history, used ids and old sessions never grow for ever. In slices, so writers never wait long."""

from __future__ import annotations

from dataclasses import dataclass

from cloud_endpoint.store import diagnostics
from cloud_endpoint.store.port import Tx

SLICE = 2000
BUNDLES = 4
"""Diagnostics bundles in one slice: each is some hundred rows."""


@dataclass(frozen=True)
class Keep:
    """How long things are kept, in ms."""

    beats: int
    history: int
    audit: int
    diagnostics: int = 14 * 24 * 3_600_000


def prune(tx: Tx, keep: Keep) -> int:
    """One slice; returns how many rows went. Call again at once while it returns SLICE or more."""
    now = tx.now_ms
    gone = 0
    for kinds, age in (("kind = 'beat'", keep.beats), ("kind <> 'beat'", keep.history)):
        gone += _slice(tx, "history", f"{kinds} AND received_ms < ?", now - age)
    gone += _slice(tx, "gaps", "at_ms < ?", now - keep.history)
    gone += _slice(tx, "dead_letters", "at_ms < ?", now - keep.history)
    gone += _slice(tx, "alerts", "last_ms < ?", now - keep.history)
    bundles = diagnostics.prune(tx, now - keep.diagnostics, BUNDLES)
    gone += SLICE if bundles == BUNDLES else bundles
    gone += _slice(tx, "audit", "at_ms < ?", now - keep.audit)
    for table in ("jtis", "sessions", "login_codes", "ek_challenges"):
        tx.execute(f"DELETE FROM {table} WHERE expires_ms < ?", (now,))  # noqa: S608 - names of this module
    tx.execute(  # the last one of a node stays: its sequence must never be given again
        "DELETE FROM commands WHERE expires_ms < ? AND sequence <"
        " (SELECT MAX(sequence) FROM commands AS later WHERE later.node = commands.node)",
        (now - keep.audit,),
    )
    return gone


def _slice(tx: Tx, table: str, where: str, value: int) -> int:
    rows = tx.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {where} LIMIT ?) RETURNING id",  # noqa: S608
        (value, SLICE),
    )
    return len(rows)
