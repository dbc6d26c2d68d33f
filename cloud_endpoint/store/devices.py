"""SQL of enrolled devices and of those that ask to be."""

from __future__ import annotations

from agents.contracts.identity import EnrolRequest, EnrolStatus
from agents.core.jose import thumbprint
from cloud_endpoint.records import DeviceRecord, EnrolmentRecord
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import dump, load, record

MAX_WAITING = 1000
"""Devices that wait at most; beyond that the longest silent one is forgotten."""


def get(tx: Tx, node: str) -> DeviceRecord | None:
    """One device, enrolled or revoked."""
    rows = tx.execute("SELECT * FROM devices WHERE node = ?", (node,))
    return record(DeviceRecord, rows[0], "signing", "sealing") if rows else None


def of_site(tx: Tx, site: str) -> list[DeviceRecord]:
    """A site's devices by node id."""
    rows = tx.execute("SELECT * FROM devices WHERE site = ? ORDER BY node", (site,))
    return [record(DeviceRecord, row, "signing", "sealing") for row in rows]


def every(tx: Tx, *, only: str | None = None, after: str = "", limit: int = 10_000) -> list[DeviceRecord]:
    """All devices by node id; `only`: those of one site."""
    rows = tx.execute(
        "SELECT * FROM devices WHERE node > ? AND (? = '' OR site = ?) ORDER BY node LIMIT ?",
        (after, only or "", only or "", limit),
    )
    return [record(DeviceRecord, row, "signing", "sealing") for row in rows]


def register(tx: Tx, device: DeviceRecord) -> None:
    """Stores an enrolled device; an older one of the same id is replaced, and what it asked before forgotten."""
    tx.execute("DELETE FROM devices WHERE node = ?", (device.node,))
    tx.execute(
        "INSERT INTO devices (node, hardware_id, site, name, address, status, signing, signing_kid, sealing,"
        " sealing_kid, hostname, hardware, enrolled_ms, ek_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            device.node,
            device.hardware_id,
            device.site,
            device.name,
            device.address,
            device.status,
            dump(device.signing),
            device.signing_kid,
            dump(device.sealing),
            device.sealing_kid,
            device.hostname,
            device.hardware,
            tx.now_ms,
            device.ek_hash,
        ),
    )
    tx.execute(
        "DELETE FROM enrolments WHERE node = ? AND signing_kid = ? AND sealing_kid = ?",
        (device.node, device.signing_kid, device.sealing_kid),
    )
    tx.notify(f"node:{device.node}")
    tx.notify("enrolments")


def remember(tx: Tx, node: str, request: EnrolRequest, *, status: EnrolStatus, reason: str, source: str) -> bool:
    """Notes a device that asked and may not join yet; True when it is a new one."""
    rows = tx.execute(
        "INSERT INTO enrolments (node, hardware_id, status, reason, signing, signing_kid, sealing, sealing_kid,"
        " hostname, hardware, source, first_ms, last_ms, tries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
        " ON CONFLICT (node, signing_kid, sealing_kid) DO UPDATE SET status = excluded.status,"
        " reason = excluded.reason, source = excluded.source, last_ms = excluded.last_ms,"
        " tries = enrolments.tries + 1 RETURNING tries",
        (
            node,
            request.hardware_id.strip(),
            status.value,
            reason,
            dump(request.signing),
            thumbprint(request.signing),
            dump(request.sealing),
            thumbprint(request.sealing),
            request.hostname,
            request.hardware,
            source,
            tx.now_ms,
            tx.now_ms,
        ),
    )
    new = bool(rows[0]["tries"] == 1)
    if new:
        tx.execute(
            "DELETE FROM enrolments WHERE status <> 'barred' AND id IN (SELECT id FROM enrolments"
            " WHERE status <> 'barred' ORDER BY last_ms DESC, id DESC LIMIT 1000000 OFFSET ?)",
            (MAX_WAITING,),
        )
        tx.notify("enrolments")
    return new


def refused_before(tx: Tx, node: str, signing_kid: str, sealing_kid: str) -> bool:
    """Whether a person refused exactly these keys."""
    rows = tx.execute(
        "SELECT status FROM enrolments WHERE node = ? AND signing_kid = ? AND sealing_kid = ? AND status = 'barred'",
        (node, signing_kid, sealing_kid),
    )
    return bool(rows)


def said_before(tx: Tx, node: str, signing_kid: str, sealing_kid: str) -> str | None:
    """The reason that exactly these keys were given when they last asked; None when they never did."""
    rows = tx.execute(
        "SELECT reason FROM enrolments WHERE node = ? AND signing_kid = ? AND sealing_kid = ?",
        (node, signing_kid, sealing_kid),
    )
    return str(rows[0]["reason"]) if rows else None


def keys_waiting(tx: Tx, node: str) -> int:
    """With how many different keys devices ask to be this node."""
    return int(tx.execute("SELECT COUNT(*) AS n FROM enrolments WHERE node = ?", (node,))[0]["n"])


def waiting(tx: Tx, limit: int = MAX_WAITING) -> list[EnrolmentRecord]:
    """Devices that asked and are not enrolled, the last heard first. `barred`: a person said no."""
    rows = tx.execute("SELECT * FROM enrolments ORDER BY last_ms DESC, id DESC LIMIT ?", (limit,))
    return [record(EnrolmentRecord, row) for row in rows]


def asked(tx: Tx, enrolment: int) -> tuple[EnrolmentRecord, EnrolRequest] | None:
    """One of them, with its keys."""
    rows = tx.execute("SELECT * FROM enrolments WHERE id = ?", (enrolment,))
    if not rows:
        return None
    row = rows[0]
    request = EnrolRequest(
        hardware_id=row["hardware_id"],
        signing=load(row["signing"]),
        sealing=load(row["sealing"]),
        proof="",
        hostname=row["hostname"],
        hardware=row["hardware"],
    )
    return record(EnrolmentRecord, row), request


def bar(tx: Tx, enrolment: int) -> None:
    """A person says no to exactly these keys."""
    tx.execute("UPDATE enrolments SET status = 'barred', reason = 'an operator refused it' WHERE id = ?", (enrolment,))
    tx.notify("enrolments")
