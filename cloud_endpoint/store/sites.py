"""SQL of sites and the shipping list, and the site document made from them."""

from __future__ import annotations

from agents.contracts.identity import AtlasSource, Election, Jwk, Member, SiteDocument
from agents.contracts.ids import node_id
from agents.core.errors import Rejected
from cloud_endpoint.records import ShippingRecord, SiteRecord
from cloud_endpoint.store import clients, devices, voters
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import dump, record


def put(
    tx: Tx, site: str, labels: dict[str, str], atlas: AtlasSource | None, election: Election | None = None
) -> SiteRecord:
    """Makes or replaces a site; the generation rises when something changed. `election`: None leaves it (a new site's
    is the cloud's). Raises Rejected where it would change within an epoch."""
    known = get(tx, site)
    if known is not None and election not in (None, known.election):
        raise Rejected(f"who decides changes with the epoch alone, and it is {known.epoch}", path="$.election")
    if known is None:
        tx.execute(
            "INSERT INTO sites (site, labels, atlas, generation, created_ms, election) VALUES (?, ?, ?, 1, ?, ?)",
            (
                site,
                dump(labels),
                None if atlas is None else dump(atlas),
                tx.now_ms,
                (election or Election.CLOUD).value,
            ),
        )
        tx.notify(f"site:{site}")
    elif (known.labels, known.atlas) != (labels, atlas):
        tx.execute(
            "UPDATE sites SET labels = ?, atlas = ? WHERE site = ?",
            (dump(labels), None if atlas is None else dump(atlas), site),
        )
        changed(tx, site)
    found = get(tx, site)
    assert found is not None
    return found


def changed(tx: Tx, site: str) -> None:
    """Raises the site's generation: its document reads differently now."""
    voters.fix(tx, site)
    tx.execute("UPDATE sites SET generation = generation + 1 WHERE site = ?", (site,))
    tx.notify(f"site:{site}")


def get(tx: Tx, site: str) -> SiteRecord | None:
    """One site."""
    rows = tx.execute("SELECT * FROM sites WHERE site = ?", (site,))
    return record(SiteRecord, rows[0], "labels", "atlas", "restore") if rows else None


def every(tx: Tx, *, only: str | None = None, after: str = "", limit: int = 5000) -> list[SiteRecord]:
    """Sites by name; `only`: the one that a person may see."""
    rows = tx.execute(
        "SELECT * FROM sites WHERE site > ? AND (? = '' OR site = ?) ORDER BY site LIMIT ?",
        (after, only or "", only or "", limit),
    )
    return [record(SiteRecord, row, "labels", "atlas", "restore") for row in rows]


def ship(
    tx: Tx,
    *,
    hardware_id: str,
    site: str,
    name: str,
    address: str,
    proof: str,
    code_hash: str | None,
    ek_hash: str = "",
) -> ShippingRecord:
    """Puts a device on the shipping list (again: replaces its line). Raises Rejected when it cannot be so."""
    if get(tx, site) is None:
        raise Rejected(f"there is no site {site!r}", path="$.site")
    node = node_id(hardware_id)
    taken = tx.execute("SELECT node FROM shipping WHERE site = ? AND name = ?", (site, name))
    if taken and taken[0]["node"] != node:
        _free(tx, taken[0]["node"], site, name)
    device = devices.get(tx, node)
    if device is not None and device.status == "enrolled" and device.site != site:
        raise Rejected(f"the device is enrolled at {device.site}: revoke it first", path="$.site")
    before = shipped(tx, node)
    tx.execute(
        "INSERT INTO shipping (hardware_id, node, site, name, address, proof, code_hash, ek_hash, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hardware_id) DO UPDATE SET site = excluded.site,"
        " name = excluded.name, address = excluded.address, proof = excluded.proof, code_hash = excluded.code_hash,"
        " ek_hash = excluded.ek_hash, code_used_ms = NULL, code_tries = 0",
        (hardware_id.strip(), node, site, name, address, proof, code_hash, ek_hash, tx.now_ms),
    )
    tx.execute("UPDATE devices SET name = ?, address = ? WHERE node = ? AND site = ?", (name, address, node, site))
    if device is not None and device.status == "revoked":
        # On the list anew means wanted anew: the device may enrol as if for the first time.
        tx.execute("DELETE FROM devices WHERE node = ?", (node,))
        tx.execute("DELETE FROM enrolments WHERE node = ?", (node,))
    changed(tx, site)
    if before is not None and before.site != site:
        changed(tx, before.site)
    found = shipped(tx, node)
    assert found is not None
    return found


def _free(tx: Tx, node: str, site: str, name: str) -> None:
    """Takes the line of a device that was revoked off the list, so that the one in its place may have its name.
    Raises Rejected while it may still come."""
    holder = devices.get(tx, node)
    if holder is None or holder.status != "revoked":
        raise Rejected(f"{site} has a node called {name!r} already: revoke it first", path="$.name")
    tx.execute("DELETE FROM shipping WHERE node = ?", (node,))


def shipped(tx: Tx, node: str) -> ShippingRecord | None:
    """A device's line of the shipping list."""
    rows = tx.execute("SELECT * FROM shipping WHERE node = ?", (node,))
    return record(ShippingRecord, rows[0]) if rows else None


def shipping(tx: Tx, *, only: str | None = None, limit: int = 10_000) -> list[ShippingRecord]:
    """The shipping list by site and name."""
    rows = tx.execute(
        "SELECT * FROM shipping WHERE (? = '' OR site = ?) ORDER BY site, name LIMIT ?", (only or "", only or "", limit)
    )
    return [record(ShippingRecord, row) for row in rows]


def document(tx: Tx, node: str, endpoints: list[str], command_keys: list[Jwk]) -> SiteDocument | None:
    """The site document for one node, None when it is not enrolled. The roster holds every shipped node of the
    site; keys only of those that are enrolled."""
    device = devices.get(tx, node)
    if device is None or device.status != "enrolled":
        return None
    site = get(tx, device.site)
    assert site is not None
    enrolled = {d.node: d for d in devices.of_site(tx, site.site) if d.status == "enrolled"}
    members = {s.node: (s.name, s.address) for s in shipping(tx, only=site.site)}
    members |= {d.node: (d.name, d.address) for d in enrolled.values()}
    roster = [
        Member(
            node=member,
            name=name,
            address=address,
            signing=enrolled[member].signing if member in enrolled else {},
            sealing=enrolled[member].sealing if member in enrolled else {},
        )
        for member, (name, address) in sorted(members.items())
    ]
    return SiteDocument(
        generation=site.generation,
        site=site.site,
        node=node,
        labels=site.labels,
        roster=roster,
        endpoints=endpoints,
        atlas=site.atlas,
        command_keys=command_keys,
        epoch=site.epoch,
        election=site.election,
        voters=voters.of(tx, site.site, site.epoch),
        epoch_authorisation=site.epoch_authorisation,
        restore=site.restore,
    )


def revoke(tx: Tx, node: str) -> bool:
    """Revokes a device: no new tokens, and those it has are refused. One that was shipped and never enrolled leaves the
    list. False when there is neither."""
    device, line = devices.get(tx, node), shipped(tx, node)
    if device is None and line is not None:
        tx.execute("DELETE FROM shipping WHERE node = ?", (node,))
        changed(tx, line.site)
        return True
    if device is None or device.status != "enrolled":
        return False
    tx.execute("UPDATE devices SET status = 'revoked' WHERE node = ?", (node,))
    clients.revoke(tx, node)
    changed(tx, device.site)
    tx.notify(f"node:{node}")
    return True
