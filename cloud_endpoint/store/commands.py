"""SQL of the nodes' command queues."""

from __future__ import annotations

from agents.contracts.codec import decode, encode
from agents.contracts.command import Command, SignedCommand
from agents.contracts.messages import CommandResult
from cloud_endpoint.records import CommandRecord
from cloud_endpoint.store import audit, wipe_grants
from cloud_endpoint.store.port import Tx
from cloud_endpoint.store.text import load, record

PASSED_MS = 60_000
"""The answer to a command just taken is on its way for less than this, on a line that works."""


def highest(tx: Tx, node: str) -> int:
    """The highest sequence ever stored for the node, or used by its own word; 0 for none."""
    rows = tx.execute(
        "SELECT sequence FROM commands WHERE node = ? UNION ALL SELECT sequence FROM command_floors WHERE node = ?"
        " ORDER BY sequence DESC LIMIT 1",
        (node, node),
    )
    return int(rows[0]["sequence"]) if rows else 0


def consumed(tx: Tx, node: str, sequence: int) -> None:
    """The node says that it used sequences up to this one: where a store restored from a backup does not know them,
    the next commands are numbered above."""
    tx.execute(
        "INSERT INTO command_floors (node, sequence) VALUES (?, ?) ON CONFLICT (node) DO UPDATE"
        " SET sequence = excluded.sequence WHERE excluded.sequence > command_floors.sequence",
        (node, sequence),
    )


def highest_waiting(tx: Tx, node: str) -> int:
    """The highest sequence that waits for the node: not answered, not expired; 0 for none."""
    rows = tx.execute(
        "SELECT COALESCE(MAX(sequence), 0) AS n FROM commands WHERE node = ? AND outcome IS NULL AND expires_ms > ?",
        (node, tx.now_ms),
    )
    return int(rows[0]["n"])


def add(tx: Tx, command: Command, signed: SignedCommand, by: str) -> None:
    """Stores a verified command; its sequence is above all before it."""
    tx.execute(
        "INSERT INTO commands (node, sequence, site, command_id, verb, signed, by_whom, created_ms, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            command.node,
            command.sequence,
            command.site,
            command.id,
            command.verb.value,
            encode(signed).decode(),
            by,
            tx.now_ms,
            command.expires * 1000,
        ),
    )
    tx.notify(f"commands:{command.node}")
    tx.notify(f"node:{command.node}")


def known_id(tx: Tx, command_id: str) -> bool:
    """Whether a command with this id was stored before, for whichever node."""
    return bool(tx.execute("SELECT node FROM commands WHERE command_id = ?", (command_id,)))


def waiting(tx: Tx, node: str, after: int, limit: int = 50) -> list[SignedCommand]:
    """Commands with a sequence above `after`, ascending: not answered, not expired. Also those that the node's count
    has passed for PASSED_MS without an answer: it will say that it took them, or that their sequence was used."""
    rows = tx.execute(
        "SELECT signed FROM commands WHERE node = ? AND (sequence > ? OR created_ms < ?) AND outcome IS NULL"
        " AND expires_ms > ? ORDER BY sequence LIMIT ?",
        (node, after, tx.now_ms - PASSED_MS, tx.now_ms, limit),
    )
    return [decode(row["signed"], SignedCommand) for row in rows]


def answered(tx: Tx, node: str, site: str, result: CommandResult) -> None:
    """Notes what the node says came of a command; the first answer stands. A grant that was for it is given back.

    An answer to a command that this store does not have is an alert: it has lost some, or somebody else sends them.
    """
    rows = tx.execute(
        "UPDATE commands SET outcome = ?, detail = ?, answered_ms = ? WHERE node = ? AND command_id = ?"
        " AND outcome IS NULL RETURNING sequence, verb",
        (result.outcome, result.detail, tx.now_ms, node, result.command_id),
    )
    for row in rows:
        detail = f"sequence {row['sequence']}, id {result.command_id}: {result.detail}"
        audit.add(tx, node, f"answer {row['verb']}", node, outcome=result.outcome, detail=detail)
    if not rows and not known_id(tx, result.command_id):
        text = f"{result.verb} {result.command_id} ({result.outcome}) was not sent by this endpoint: {result.detail}"
        audit.raise_alert(tx, site=site, node=node, code="command-unknown", severity="critical", text=text)
    wipe_grants.ended(tx, node, result.command_id, result.outcome)


def of_node(tx: Tx, node: str, limit: int = 100) -> list[CommandRecord]:
    """A node's commands, the newest first."""
    rows = tx.execute("SELECT * FROM commands WHERE node = ? ORDER BY sequence DESC LIMIT ?", (node, limit))
    return [record(CommandRecord, {**row, "by": row["by_whom"]}) for row in rows]


def of_id(tx: Tx, command_id: str) -> CommandRecord | None:
    """The command with this id, of whichever node."""
    rows = tx.execute("SELECT * FROM commands WHERE command_id = ?", (command_id,))
    return record(CommandRecord, {**rows[0], "by": rows[0]["by_whom"]}) if rows else None


def challenge(tx: Tx, node: str) -> str | None:
    """The node's newest published challenge: not expired, and no command was stored since it came (single use)."""
    rows = tx.execute(
        "SELECT body FROM node_latest WHERE node = ? AND kind = 'challenge' AND received_ms >"
        " (SELECT COALESCE(MAX(created_ms), 0) FROM commands WHERE commands.node = node_latest.node)",
        (node,),
    )
    if not rows:
        return None
    body = load(rows[0]["body"])
    return str(body["challenge"]) if body["expires"] * 1000 > tx.now_ms else None
