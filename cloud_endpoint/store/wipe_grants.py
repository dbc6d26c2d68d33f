"""SQL of wipes: one a site at a time, and none that costs the quorum by what this endpoint last heard.

A grant is written once, by compare and set on the site. The answer to its command gives it back, or an operator does.
"""

from __future__ import annotations

from agents.contracts.codec import decode
from agents.contracts.command import Command, SignedCommand, Verb
from agents.contracts.wipe import WipeGrant
from agents.core.command_rules import ERASES, rebuilds
from agents.core.command_verify import read_command
from agents.core.errors import Rejected
from cloud_endpoint.records import WipeGrantRecord
from cloud_endpoint.rules import wipe_quorum
from cloud_endpoint.store import audit, devices, fleet, voters
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import record

ACTION = "wipe grant"


def ask(tx: Tx, node: str, site: str, command_id: str, *, interval: float) -> WipeGrant:
    """Whether the node may begin with this command. Asked again, it is told the same. `interval`: of beats, for a node
    that has not told its own, s. Raises Rejected for a device that is not enrolled at the site."""
    device = devices.get(tx, node)
    if device is None or device.status != "enrolled" or device.site != site:
        raise Rejected("the device is not enrolled at the site that the token names")
    command, why = _command(tx, node, site, command_id)
    if command is None:
        return _refused(tx, node, site, "", why)
    held = of(tx, site)
    if held is not None and (held.node, held.command_id) == (node, command_id):
        return WipeGrant(granted=True, holder=node)
    if held is not None and held.node != node:
        return _refused(tx, node, site, command_id, f"another node of this site is being wiped: {held.node}")
    why = "" if rebuilds(command) else _quorum(tx, node, site, interval)
    if why:
        return _refused(tx, node, site, command_id, f"it would cost the cluster its quorum: {why}")
    return _take(tx, node, site, command)


def _take(tx: Tx, node: str, site: str, command: Command) -> WipeGrant:
    """Compare and set. A node that holds it for an older command has ended that one: it has one in hand at a time."""
    rows = tx.execute(
        "INSERT INTO wipe_grants (site, node, command_id, granted_ms) VALUES (?, ?, ?, ?) ON CONFLICT (site)"
        " DO UPDATE SET command_id = excluded.command_id, granted_ms = excluded.granted_ms"
        " WHERE wipe_grants.node = excluded.node RETURNING node",
        (site, node, command.id, tx.now_ms),
    )
    if not rows:  # another replica was quicker
        held = of(tx, site)
        holder = held.node if held is not None else ""
        return _refused(tx, node, site, command.id, f"another node of this site is being wiped: {holder}")
    how = ", a rebuild of the site: the quorum is not spared" if rebuilds(command) else ""
    audit.add(tx, node, ACTION, site, detail=f"{command.verb.value} {command.id} of {node}{how}")
    tx.execute("DELETE FROM wipe_refusals WHERE node = ?", (node,))
    tx.notify(f"site:{site}")
    return WipeGrant(granted=True, holder=node)


def of(tx: Tx, site: str) -> WipeGrantRecord | None:
    """Who may wipe itself at this site now; None: nobody asked, or it was given back."""
    rows = tx.execute("SELECT * FROM wipe_grants WHERE site = ?", (site,))
    return record(WipeGrantRecord, rows[0]) if rows else None


def ended(tx: Tx, node: str, command_id: str, outcome: str) -> None:
    """The node's answer to that command gives its grant back."""
    rows = tx.execute("DELETE FROM wipe_grants WHERE node = ? AND command_id = ? RETURNING site", (node, command_id))
    for row in rows:
        audit.add(tx, node, "wipe grant back", row["site"], detail=f"{command_id} ended: {outcome}")
        tx.notify(f"site:{row['site']}")


def release(tx: Tx, site: str, actor: str) -> bool:
    """An operator's word that the holder will not answer any more. False where nobody holds it."""
    rows = tx.execute("DELETE FROM wipe_grants WHERE site = ? RETURNING node, command_id", (site,))
    detail = f"held by {rows[0]['node']} for {rows[0]['command_id']}" if rows else "nobody held it"
    audit.add(tx, actor, "wipe grant release", site, outcome="done" if rows else "nothing to do", detail=detail)
    if rows:
        tx.notify(f"site:{site}")
    return bool(rows)


def _command(tx: Tx, node: str, site: str, command_id: str) -> tuple[Command | None, str]:
    """The command as this endpoint stored it for this node, or why the node may not name it."""
    rows = tx.execute(
        "SELECT site, verb, signed, outcome FROM commands WHERE node = ? AND command_id = ?", (node, command_id)
    )
    if not rows:
        return None, "this endpoint has no such command for this node"
    if rows[0]["site"] != site:
        return None, "the command is for another site"
    if Verb(rows[0]["verb"]) not in ERASES:
        return None, f"{rows[0]['verb']} erases nothing"
    if rows[0]["outcome"] is not None:
        return None, f"the command was answered already: {rows[0]['outcome']}"
    return read_command(decode(rows[0]["signed"], SignedCommand)), ""


def _quorum(tx: Tx, node: str, site: str, interval: float) -> str:
    workers = voters.of_workers(tx, site)
    servers = [one for one in fleet.nodes(tx, site=site) if one.status == "enrolled" and one.node not in workers]
    return wipe_quorum.lost(node, servers, now_ms=tx.now_ms, interval=interval, before=_unheard(tx, site))


def _unheard(tx: Tx, site: str) -> frozenset[str]:
    """Nodes that were wiped here, and whose last word of their state is an older one than their answer.

    Older in both senses: newest-first sending may bring the answer behind a newer state.
    """
    verbs = sorted(verb.value for verb in ERASES)
    rows = tx.execute(
        "SELECT DISTINCT commands.node AS node FROM commands JOIN node_latest ON node_latest.node = commands.node"  # noqa: S608
        " AND node_latest.kind = 'state' JOIN history ON history.node = commands.node"
        " AND history.kind = 'command-result' AND history.key = commands.command_id"
        f" WHERE commands.site = ? AND history.site = ? AND commands.verb IN ({', '.join('?' * len(verbs))})"
        " AND commands.outcome = 'done' AND node_latest.received_ms < commands.answered_ms"
        " AND node_latest.t <= history.t",
        (site, site, *verbs),
    )
    return frozenset(str(row["node"]) for row in rows)


def _refused(tx: Tx, node: str, site: str, command_id: str, why: str) -> WipeGrant:
    """Audited once for each reason: a node that waits for another's end asks again and again."""
    rows = tx.execute(
        "INSERT INTO wipe_refusals (node, command_id, why) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET"
        " command_id = excluded.command_id, why = excluded.why WHERE wipe_refusals.command_id <> excluded.command_id"
        " OR wipe_refusals.why <> excluded.why RETURNING node",
        (node, command_id, why),
    )
    if rows:
        audit.add(tx, node, ACTION, site, outcome="refused", detail=f"{command_id} {why}".strip())
    held = of(tx, site)
    return WipeGrant(granted=False, holder=held.node if held is not None else "", why=why)
