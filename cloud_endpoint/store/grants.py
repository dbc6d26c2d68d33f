"""SQL of epochs: who may run a site's one `cluster-init`, and the step to the next epoch.

A grant is written once per site and epoch, and never changed or forgotten; so is the grantee's word that it begins.
"""

from __future__ import annotations

from agents.contracts.election import InitAsk, InitGrant
from agents.contracts.identity import Election
from agents.core.errors import Rejected
from cloud_endpoint.records import GrantRecord, SiteRecord
from cloud_endpoint.store import audit, devices, sites, voters
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import dump, record


def ask(tx: Tx, node: str, site: str, asked: InitAsk) -> InitGrant:
    """Compare and set: the first enrolled device that wants it has the epoch's grant, for ever. Its first word that it
    begins stands as well. Raises Rejected."""
    known, device = sites.get(tx, site), devices.get(tx, node)
    if known is None or device is None or device.status != "enrolled" or device.site != site:
        raise Rejected("the device is not enrolled at the site that the token names")
    if asked.epoch != known.epoch:
        raise Rejected(f"the site's epoch is {known.epoch}, and not {asked.epoch}", path="$.epoch")
    if known.election is not Election.CLOUD:
        raise Rejected(f"in epoch {known.epoch} the site elects offline: the voters decide")
    if asked.want and node in voters.of_workers(tx, site):
        raise Rejected("a worker begins no cluster")
    if asked.want:
        rows = tx.execute(
            "INSERT INTO init_grants (site, epoch, node, kid, granted_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (site, epoch) DO NOTHING RETURNING node",
            (site, known.epoch, node, device.signing_kid, tx.now_ms),
        )
        if rows:
            audit.add(tx, node, "init grant", site, detail=f"epoch {known.epoch}, key {device.signing_kid}")
            tx.notify(f"site:{site}")
    held = of(tx, site, known.epoch)
    if held is None:
        return InitGrant(site=site, epoch=known.epoch)
    yours = (held.node, held.kid) == (node, device.signing_kid)
    begun = _begun(tx, held, asked.begins if yours else "")
    return InitGrant(
        site=site,
        epoch=held.epoch,
        node=held.node,
        yours=yours,
        granted_ms=held.granted_ms,
        begun=bool(begun),
        same=yours and bool(begun) and begun == asked.begins,
    )


def _begun(tx: Tx, held: GrantRecord, number: str) -> str:
    """The number that the grantee said with its first word that it begins; empty for none. `number`: of a word now.

    A disk from before that word holds another number, or none: it is told that the cluster was begun without it."""
    where = (held.site, held.epoch)
    if number:
        rows = tx.execute(
            "UPDATE init_grants SET begun = ?, begun_ms = ? WHERE site = ? AND epoch = ? AND begun = '' RETURNING node",
            (number, tx.now_ms, *where),
        )
        if rows:
            audit.add(tx, held.node, "cluster init begins", held.site, detail=f"epoch {held.epoch}")
            tx.notify(f"site:{held.site}")
    rows = tx.execute("SELECT begun FROM init_grants WHERE site = ? AND epoch = ?", where)
    return str(rows[0]["begun"])


def of(tx: Tx, site: str, epoch: int) -> GrantRecord | None:
    """The epoch's grant, None while nobody has it."""
    rows = tx.execute("SELECT * FROM init_grants WHERE site = ? AND epoch = ?", (site, epoch))
    return record(GrantRecord, rows[0]) if rows else None


def every(tx: Tx, site: str) -> list[GrantRecord]:
    """A site's grants, the newest epoch first."""
    rows = tx.execute("SELECT * FROM init_grants WHERE site = ? ORDER BY epoch DESC", (site,))
    return [record(GrantRecord, row) for row in rows]


def raise_epoch(
    tx: Tx,
    site: str,
    to: int,
    *,
    election: Election | None,
    authorisation: str,
    actor: str,
    restore: bool = False,
) -> SiteRecord:
    """The next epoch, with how it elects (None: as before), and whether its cluster is made of a snapshot. Asked again
    it changes nothing. Raises Rejected for another number than the next, and where the present epoch says otherwise
    than what is asked again."""
    known = check_step(tx, site, to)
    wanted = election or known.election
    same = (wanted, authorisation, restore) == (known.election, known.epoch_authorisation, known.restore)
    if to == known.epoch and same:
        return known
    if to == known.epoch:
        raise Rejected(_next(known))
    tx.execute(
        "UPDATE sites SET epoch = ?, election = ?, epoch_authorisation = ?, restore = ? WHERE site = ?",
        (to, wanted.value, authorisation, dump(restore), site),
    )
    how = f"{wanted.value}{', restored from a snapshot' if restore else ''}"
    audit.add(tx, actor, "site epoch", site, detail=f"{known.epoch} to {to}, {how}")
    sites.changed(tx, site)
    found = sites.get(tx, site)
    assert found is not None
    return found


def check_step(tx: Tx, site: str, to: int) -> SiteRecord:
    """The site, where `to` is its next epoch or, asked again, the present one; else raises Rejected. To be asked before
    signatures are looked at: for a wrong number there is none that would help."""
    known = sites.get(tx, site)
    if known is None:
        raise Rejected(f"there is no site {site!r}", path="$.site")
    if to not in (known.epoch, known.epoch + 1):
        raise Rejected(_next(known))
    return known


def _next(site: SiteRecord) -> str:
    return f"the site's epoch is {site.epoch} ({site.election.value}): the next is {site.epoch + 1}"
