"""SQL of the trust documents: shipping entries and operators' documents, kept as they were signed elsewhere."""

from __future__ import annotations

import msgspec

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.identity import SiteDocument
from agents.contracts.ids import hardware_digest
from agents.contracts.orders import SiteOrder
from agents.contracts.signed import SignedDocument
from agents.contracts.trust import Roster
from agents.core.entries import read_entry, verify_authorisation, verify_entry
from agents.core.errors import Rejected
from agents.core.jose import Signer, check_header, thumbprint
from agents.core.operators import Operators, first_operators, next_operators, read_operators_document
from agents.core.orders import sign_order, verify_order
from agents.core.trust import TrustPolicy, sign_roster
from agents.core.trust_codes import TrustCode, TrustRefused
from cloud_endpoint.records import DeviceRecord, EntryRecord, OperatorsRecord, OrderRecord, SiteRecord
from cloud_endpoint.rules.roster import Line, StoredEntry, counts, members
from cloud_endpoint.store import audit, devices, orders, sites
from cloud_endpoint.store.port import Row, Tx

MAX_DOCUMENTS = 64
"""Operators' documents in one answer; a node that lacks more asks again."""
NAMED = 10


def put_entry(tx: Tx, signed: SignedDocument, actor: str) -> EntryRecord:
    """Stores an entry above all before it of its node. A withdrawal revokes the device at its site.

    Raises TrustRefused (not signed by an operator whose word counts) or Rejected (another device than the list's).
    """
    operators = newest(tx)
    if operators is None:
        raise Rejected("there is no operators' document yet: push the first one", path="$.entry")
    entry = verify_entry(signed, operators)
    line = sites.shipped(tx, entry.node)
    if not entry.withdrawn:
        listed = None if line is None else (line.site, line.name, hardware_digest(line.hardware_id))
        if listed != (entry.site, entry.name, entry.hardware):
            raise Rejected("the shipping list has no device with this hardware id, site and name", path="$.entry")
    elif sites.get(tx, entry.site) is None:
        raise Rejected(f"there is no site {entry.site!r}", path="$.entry")
    rows = tx.execute("SELECT MAX(sequence) AS n FROM shipping_entries WHERE node = ?", (entry.node,))
    before = int(rows[0]["n"] or 0)
    if entry.sequence <= before:
        raise Rejected(f"sequence {entry.sequence} is not above {before}", path="$.entry")
    kids = [check_header(one.protected)["kid"] for one in signed.signatures]
    tx.execute(
        "INSERT INTO shipping_entries (site, node, sequence, kids, signed, put_ms) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (site, node) DO UPDATE SET sequence = excluded.sequence, kids = excluded.kids,"
        " signed = excluded.signed, bound = NULL, put_ms = excluded.put_ms",
        (entry.site, entry.node, entry.sequence, encode(kids).decode(), encode(signed).decode(), tx.now_ms),
    )
    device = devices.get(tx, entry.node)
    if entry.withdrawn and line is not None and line.site == entry.site:
        sites.revoke(tx, entry.node)
    elif device is not None and device.status == "enrolled" and device.site == entry.site:
        _bind(tx, device)
    sites.changed(tx, entry.site)
    word = "withdrawn" if entry.withdrawn else f"{entry.name}, {entry.role.value}"
    audit.add(tx, actor, "entry put", entry.node, detail=f"{entry.site} {word}, sequence {entry.sequence}")
    return _record(StoredEntry(entry, signed, kids), operators)


def note_keys(tx: Tx, device: DeviceRecord) -> None:
    """A device has keys now: the first beside its entry are the only ones that nodes take."""
    _bind(tx, device)
    note_missing(tx, device.site, device.node)


def _bind(tx: Tx, device: DeviceRecord) -> None:
    tx.execute(
        "UPDATE shipping_entries SET bound = ? WHERE site = ? AND node = ? AND bound IS NULL",
        (encode([device.signing_kid, device.sealing_kid]).decode(), device.site, device.node),
    )


def note_missing(tx: Tx, site: str, node: str) -> None:
    """Raises an alert where the site has signed entries and this device needs one: none fits, or not for its keys."""
    entries = _entries(tx, site)
    if not entries:
        return
    lines = {one.node: one for one in _lines(tx, site)}
    found = {one.node: one for one in members(list(lines.values()), entries, newest(tx))[0]}
    if node not in found:
        text = f"{node} has no signed shipping entry that fits: it is left out of the signed roster of {site}"
    elif lines[node].signing and not found[node].signing:
        text = f"{node} has keys that its signed shipping entry does not cover: sign a new one (galley device sign)"
    else:
        return
    audit.raise_alert(tx, site=site, node=node, code="entry-missing", severity="warning", text=text)


def entries(tx: Tx, *, only: str | None = None, limit: int = 10_000) -> list[EntryRecord]:
    """Entries by site and node; `only`: those of one site."""
    rows = tx.execute(
        "SELECT * FROM shipping_entries WHERE (? = '' OR site = ?) ORDER BY site, node LIMIT ?",
        (only or "", only or "", limit),
    )
    operators = newest(tx)
    return [_record(_stored(row), operators) for row in rows]


def push(tx: Tx, signed: SignedDocument, actor: str, *, orphans: bool) -> OperatorsRecord:
    """Stores the operators' document that follows the newest one; the very first must be signed by a key of its own.

    Raises TrustRefused, or Rejected where entries would count no longer and `orphans` does not allow it.
    """
    before = newest(tx)
    after = first_operators(signed) if before is None else next_operators(before, signed)
    left: list[str] = []
    touched: set[str] = set()
    for row in tx.execute("SELECT * FROM shipping_entries ORDER BY site, node"):
        stored = _stored(row)
        if counts(stored, before) is counts(stored, after):
            continue
        touched.add(row["site"])
        if not counts(stored, after):
            left.append(f"{row['site']}/{row['node']}")
    if left and not orphans:
        named = ", ".join(left[:NAMED]) + (", ..." if len(left) > NAMED else "")
        raise Rejected(
            f"{len(left)} shipping entries are signed by keys that would count no longer ({named}): sign them anew"
            " first, retire the key instead of removing it, or allow it",
            path="$.keys",
        )
    tx.execute(
        "INSERT INTO operators_documents (generation, signed, put_ms) VALUES (?, ?, ?)",
        (after.generation, encode(signed).decode(), tx.now_ms),
    )
    for site in sorted(touched):
        sites.changed(tx, site)
    detail = f"{len(after.signing)} key(s), threshold {after.threshold}, {len(left)} entries count no longer"
    audit.add(tx, actor, "operators put", f"document {after.generation}", detail=detail)
    return _operators_record(signed, after)


def raise_generation(tx: Tx, site: str, above: int, actor: str) -> SiteRecord:
    """The site's next generation is above this one. A store that came from a backup counts from an older state, and
    nodes refuse what they take for a step back. Raises Rejected where there is no such site."""
    known = sites.get(tx, site)
    if known is None:
        raise Rejected(f"there is no site {site!r}", path="site")
    if known.generation <= above:
        tx.execute("UPDATE sites SET generation = ? WHERE site = ?", (above, site))
        sites.changed(tx, site)
    audit.add(tx, actor, "site generation", site, detail=f"above {above}")
    found = sites.get(tx, site)
    assert found is not None
    return found


def newest(tx: Tx) -> Operators | None:
    """The newest document's content; None where none was pushed."""
    rows = tx.execute("SELECT signed FROM operators_documents ORDER BY generation DESC LIMIT 1")
    return read_operators_document(decode(rows[0]["signed"], SignedDocument)) if rows else None


def documents(tx: Tx, after: int = 0, limit: int = MAX_DOCUMENTS) -> list[SignedDocument]:
    """Operators' documents of a higher generation than `after`, ascending."""
    rows = tx.execute(
        "SELECT signed FROM operators_documents WHERE generation > ? ORDER BY generation LIMIT ?", (after, limit)
    )
    return [decode(row["signed"], SignedDocument) for row in rows]


def listed(tx: Tx) -> list[OperatorsRecord]:
    """All operators' documents, ascending."""
    return [_operators_record(one, read_operators_document(one)) for one in documents(tx, 0, 1_000_000)]


def signed_site(
    tx: Tx,
    document: SiteDocument,
    signer: Signer,
    *,
    operators_after: int = 0,
) -> SiteDocument:
    """The site document with its signed roster, and operators' documents above a generation."""
    found, withdrawn = members(_lines(tx, document.site), _entries(tx, document.site), newest(tx))
    roster = Roster(
        site=document.site,
        generation=document.generation,
        epoch=document.epoch,
        election=document.election,
        voters=document.voters,
        members=found,
        withdrawn=withdrawn,
        authorisation=_authorisation(document.epoch_authorisation),
        restore=True if document.restore else msgspec.UNSET,
    )
    return msgspec.structs.replace(
        document,
        roster_jws=sign_roster(roster, signer),
        roster_keys=[signer.public],
        operators=documents(tx, operators_after),
        orders=orders.of(tx, document.site, document.epoch),
    )


def check_authorisation(tx: Tx, site: str, epoch: int, text: str, *, restore: bool) -> None:
    """Refuses an epoch that the nodes would refuse, or read otherwise: where operators' keys are known, one of them
    must have signed it, and whether it is restored. Raises TrustRefused."""
    operators = newest(tx)
    if operators is None:
        return
    signed = verify_authorisation(_authorisation(text), operators, site=site, epoch=epoch)
    if signed.restore != restore:
        words = "says" if signed.restore else "does not say"
        text = f"the authorisation {words} --restore, the request {'does' if restore else 'does not'}"
        raise TrustRefused(TrustCode.EPOCH_AUTHORISATION, text)


def put_order(tx: Tx, site: str, given: SignedDocument | SiteOrder, signer: Signer, actor: str) -> OrderRecord:
    """Stores an order to a site. Where operators' keys are known, one of them must have signed it; where none are, the
    endpoint's own key (`signer`) does. Raises TrustRefused, or Rejected (no such site, not above the last one)."""
    known, operators = sites.get(tx, site), newest(tx)
    if known is None:
        raise Rejected(f"there is no site {site!r}", path="site")
    if isinstance(given, SiteOrder):
        if operators is not None:
            raise TrustRefused(TrustCode.ORDER_SIGNATURE, "this fleet has operators: one of their keys must sign it")
        given = sign_order(given, signer)
    elif operators is None:
        raise Rejected("there is no operators' document yet: push the first one", path="$.signed")
    policy = TrustPolicy.ENDPOINT if operators is None else TrustPolicy.OPERATORS
    keys = {thumbprint(signer.public): signer.public}
    order = verify_order(given, operators=operators, policy=policy, roster_keys=keys, site=site, epoch=known.epoch)
    return orders.put(tx, site, order, given, actor)


def _authorisation(text: str) -> SignedDocument | None:
    try:
        return decode(text.encode(), SignedDocument) if text else None
    except ContractError:
        return None


def _lines(tx: Tx, site: str) -> list[Line]:
    """Shipped or enrolled at the site, and not revoked there."""
    here = {one.node: one for one in devices.of_site(tx, site)}
    revoked = {node for node, one in here.items() if one.status != "enrolled"}
    found = {one.node: Line(one.node, one.name, one.address, {}, {}) for one in sites.shipping(tx, only=site)}
    for node, one in here.items():
        found[node] = Line(node, one.name, one.address, one.signing, one.sealing, one.enrolled_ms // 1000)
    return [line for node, line in found.items() if node not in revoked]


def _entries(tx: Tx, site: str) -> dict[str, StoredEntry]:
    rows = tx.execute("SELECT * FROM shipping_entries WHERE site = ? ORDER BY node", (site,))
    return {row["node"]: _stored(row) for row in rows}


def _stored(row: Row) -> StoredEntry:
    signed = decode(row["signed"], SignedDocument)
    bound = decode(row["bound"], list[str]) if row["bound"] else []
    return StoredEntry(read_entry(signed), signed, decode(row["kids"], list[str]), bound)


def _record(stored: StoredEntry, operators: Operators | None) -> EntryRecord:
    entry = stored.entry
    return EntryRecord(
        site=entry.site,
        node=entry.node,
        name=entry.name,
        role=entry.role.value,
        sequence=entry.sequence,
        issued=entry.issued,
        expires=entry.expires,
        withdrawn=entry.withdrawn,
        pinned=bool(entry.signing or entry.sealing),
        counts=counts(stored, operators),
    )


def _operators_record(signed: SignedDocument, operators: Operators) -> OperatorsRecord:
    return OperatorsRecord(
        generation=operators.generation,
        threshold=operators.threshold,
        names=[one.name for one in operators.keys.values() if not one.retired],
        retired=[one.name for one in operators.keys.values() if one.retired],
        roster_keys=sorted(operators.roster_keys),
        signed=signed,
    )
