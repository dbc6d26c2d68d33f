"""SQL of who votes in an epoch of a site that elects offline: written once, when the last shipped device enrolled.

From then on the list stands for the whole epoch, whatever becomes of the roster: a replaced or later device has another
key, so it is not on the list, and two majorities can never be found that share no box.
"""

from __future__ import annotations

from agents.contracts.codec import decode
from agents.contracts.identity import MAX_VOTERS, Election, Voter
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import MemberRole
from agents.core.entries import read_entry
from cloud_endpoint.store import devices
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import record


def of(tx: Tx, site: str, epoch: int) -> list[Voter]:
    """By node; empty while they are not fixed, and where the cloud decides."""
    rows = tx.execute("SELECT node, kid FROM voters WHERE site = ? AND epoch = ? ORDER BY node", (site, epoch))
    return [record(Voter, row) for row in rows]


def of_workers(tx: Tx, site: str) -> set[str]:
    """Nodes that an operator's entry makes workers: they neither vote nor begin a cluster, nor are they waited for."""
    rows = tx.execute("SELECT node, signed FROM shipping_entries WHERE site = ?", (site,))
    entries = ((row["node"], read_entry(decode(row["signed"], SignedDocument))) for row in rows)
    return {node for node, entry in entries if entry.role is MemberRole.WORKER and not entry.withdrawn}


def fix(tx: Tx, site: str) -> None:
    """Writes the list of the site's epoch where it elects offline, has none yet, and no shipped device is still to
    enrol for the first time. Called with every change of a roster."""
    rows = tx.execute("SELECT epoch FROM sites WHERE site = ? AND election = ?", (site, Election.OFFLINE.value))
    if not rows or of(tx, site, rows[0]["epoch"]):
        return
    awaited = tx.execute("SELECT node FROM shipping WHERE site = ? AND node NOT IN (SELECT node FROM devices)", (site,))
    workers = of_workers(tx, site)
    enrolled = [one for one in devices.of_site(tx, site) if one.status == "enrolled" and one.node not in workers]
    if any(row["node"] not in workers for row in awaited) or not 1 <= len(enrolled) <= MAX_VOTERS:
        return
    for one in enrolled:
        tx.execute(
            "INSERT INTO voters (site, epoch, node, kid) VALUES (?, ?, ?, ?)",
            (site, rows[0]["epoch"], one.node, one.signing_kid),
        )
