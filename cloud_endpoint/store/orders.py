"""SQL of the orders to sites: the newest of each kind, kept as it was signed."""

from __future__ import annotations

from agents.contracts.codec import decode, encode
from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument
from agents.core.errors import Rejected
from agents.core.orders import read_order
from cloud_endpoint.records import OrderRecord
from cloud_endpoint.store import audit, sites
from cloud_endpoint.store.port import Row, Tx


def put(tx: Tx, site: str, order: SiteOrder, signed: SignedDocument, actor: str) -> OrderRecord:
    """Stores an order whose signature was checked. Raises Rejected where it is not above all orders of the site."""
    rows = tx.execute("SELECT MAX(number) AS n FROM site_orders WHERE site = ?", (site,))
    before = int(rows[0]["n"] or 0)
    if order.number <= before:
        raise Rejected(f"number {order.number} is not above {before}", path="$.number")
    tx.execute(
        "INSERT INTO site_orders (site, kind, epoch, number, signed, put_ms) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (site, kind) DO UPDATE SET epoch = excluded.epoch, number = excluded.number,"
        " signed = excluded.signed, put_ms = excluded.put_ms",
        (site, order.kind.value, order.epoch, order.number, encode(signed).decode(), tx.now_ms),
    )
    sites.changed(tx, site)
    word = " ".join(filter(None, (order.kind.value, order.version)))
    audit.add(tx, actor, "site order", site, detail=f"{word}, number {order.number}, epoch {order.epoch}")
    return OrderRecord(order=order, current=True, put_ms=tx.now_ms, signed=signed)


def of(tx: Tx, site: str, epoch: int) -> list[SignedDocument]:
    """The newest order of each kind for this epoch."""
    rows = tx.execute("SELECT signed FROM site_orders WHERE site = ? AND epoch = ? ORDER BY kind", (site, epoch))
    return [decode(row["signed"], SignedDocument) for row in rows]


def listed(tx: Tx, site: str) -> list[OrderRecord]:
    """The newest order of each kind, of whatever epoch. Raises Rejected where there is no such site."""
    known = sites.get(tx, site)
    if known is None:
        raise Rejected(f"there is no site {site!r}", path="site")
    rows = tx.execute("SELECT * FROM site_orders WHERE site = ? ORDER BY kind", (site,))
    return [_record(row, known.epoch) for row in rows]


def _record(row: Row, epoch: int) -> OrderRecord:
    signed = decode(row["signed"], SignedDocument)
    return OrderRecord(order=read_order(signed), current=row["epoch"] == epoch, put_ms=row["put_ms"], signed=signed)
