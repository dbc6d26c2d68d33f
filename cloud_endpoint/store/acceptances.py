"""SQL of the signed reports on the acceptance of sites: kept as they were signed, the last few of each site."""

from __future__ import annotations

from agents.contracts.codec import decode, encode
from agents.contracts.signed import SignedDocument
from agents.core.errors import Rejected
from agents.core.jose import thumbprint
from agents.core.signed import read_payload
from cloud_endpoint.records import OperatorRecord
from cloud_endpoint.rules.acceptance_report import AcceptanceRecord, AcceptanceReport, check_later, verify_report
from cloud_endpoint.store import audit, clients, sites
from cloud_endpoint.store.port import Row, Tx

KEPT = 20
"""Reports of a site; the audit names all there ever were."""


def put(tx: Tx, site: str, signed: SignedDocument, actor: str) -> AcceptanceRecord:
    """Stores a report. Raises AcceptanceRefused (not by the command key of an operator of this site, or not of it now)
    or Rejected (no such site, or not later than the last one)."""
    known = sites.get(tx, site)
    if known is None:
        raise Rejected(f"there is no site {site!r}", path="site")
    holders = _holders(tx, site)
    keys = {kid: one.command_key for kid, one in holders.items() if one.command_key is not None}
    report, kids = verify_report(signed, keys, site=site, epoch=known.epoch, now_ms=tx.now_ms)
    before = last(tx, site)
    check_later(report, None if before is None else before.checked_ms)
    names = ", ".join(sorted({holders[kid].name for kid in kids}))
    tx.execute(
        "INSERT INTO acceptances (site, epoch, accepted, checked_ms, put_ms, signed_by, kid, signed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            site,
            report.epoch,
            int(report.accepted),
            report.at,
            tx.now_ms,
            names,
            " ".join(kids),
            encode(signed).decode(),
        ),
    )
    tx.execute(
        "DELETE FROM acceptances WHERE site = ? AND id NOT IN"
        " (SELECT id FROM acceptances WHERE site = ? ORDER BY id DESC LIMIT ?)",
        (site, site, KEPT),
    )
    failed = ", ".join(check.name.value for check in report.checks if not check.ok)
    word = "accepted" if report.accepted else f"not accepted: {failed}"
    audit.add(tx, actor, "site acceptance", site, detail=f"{word}; epoch {report.epoch}, signed by {names}")
    found = last(tx, site)
    assert found is not None
    return found


def last(tx: Tx, site: str) -> AcceptanceRecord | None:
    """The newest report of a site; None where there is none."""
    rows = tx.execute("SELECT * FROM acceptances WHERE site = ? ORDER BY id DESC LIMIT 1", (site,))
    return _record(rows[0]) if rows else None


def _holders(tx: Tx, site: str) -> dict[str, OperatorRecord]:
    """Operators whose word counts at the site, by their command key's thumbprint."""
    return {
        thumbprint(one.command_key): one
        for one in clients.operators(tx)
        if one.command_key is not None and one.revoked_ms is None and one.site in (None, site)
    }


def _record(row: Row) -> AcceptanceRecord:
    signed = decode(row["signed"], SignedDocument)
    return AcceptanceRecord(
        site=row["site"],
        epoch=row["epoch"],
        accepted=bool(row["accepted"]),
        checked_ms=row["checked_ms"],
        put_ms=row["put_ms"],
        signed_by=row["signed_by"],
        kid=row["kid"],
        report=read_payload(signed, AcceptanceReport),
        signed=signed,
    )
